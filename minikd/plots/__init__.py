"""Figures. Importing this needs Matplotlib, which takes half a second."""

from minikd.plots.canvas import Figure as Figure
from minikd.plots.canvas import style as style
from minikd.plots.figures import bars as bars
from minikd.plots.figures import curves as curves
from minikd.plots.figures import dark_knowledge as dark_knowledge
from minikd.plots.figures import digits as digits
from minikd.plots.figures import distributions as distributions
from minikd.plots.figures import gradient_ratio as gradient_ratio
from minikd.plots.figures import learning_curves as learning_curves
from minikd.plots.figures import network_diagram as network_diagram
from minikd.plots.figures import save as save
