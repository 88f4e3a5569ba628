"""Figures, by who draws them. Importing this needs Matplotlib, which takes half a second.

    from minikd import plots
    plots.curves(x, {"student": errors}, xlabel="T", ylabel="test errors")

training.py    learning curves
teacher.py     dark knowledge
gradients.py   the ratio of a gradient to the truth
lessons.py     what the notebooks draw: digits, distributions, curves, bars, a network
runs.py        several runs, one dot each, beside one more
speech.py      what a network hears
canvas.py      what all figures share, and the file that is written

In a notebook, `minikd.learn.widgets.show(figure, alt)` shows a figure, with words for those who do not see it.
"""

from minikd.plots.canvas import Figure, save, style  # comes first: it loads Matplotlib
from minikd.plots.gradients import gradient_ratio
from minikd.plots.lessons import bars, by_class, curves, digits, distributions, network_diagram
from minikd.plots.runs import dots
from minikd.plots.teacher import dark_knowledge
from minikd.plots.training import learning_curves

__all__ = [
    "Figure",
    "bars",
    "by_class",
    "curves",
    "dark_knowledge",
    "digits",
    "distributions",
    "dots",
    "gradient_ratio",
    "learning_curves",
    "network_diagram",
    "save",
    "style",
]
