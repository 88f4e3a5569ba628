"""What a notebook does with its reader: it shows a figure, asks for a prediction, states a fact, and follows a slider.

Where widgets cannot run, as on a web page, a prediction is a question that you unfold, and a slider is a picture.
"""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from minikd.system.html import RIGHT, verdict

if TYPE_CHECKING:
    from minikd.plots import Figure

STATIC = "MINIKD_STATIC"
"""The environment variable that says that nobody can move a widget, as when the notebooks are executed."""


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook.

    Args:
        figure: from `minikd.plots`.
        alt: one or two sentences that say what is to be seen, for readers who do not see the figure.
    """
    from minikd.plots import canvas

    width = round(72 * figure.get_figwidth())  # in pixels; the picture has twice as many, for sharp screens
    _display(_picture(canvas.png(figure), "png", alt, width), f"[Figure: {alt}]")


def claim(sentence: str, holds: object) -> None:
    """State a fact that was just checked.

    Args:
        sentence: the fact.
        holds: whether it is true.

    Raises:
        AssertionError: if it is not.

    >>> claim("The probabilities sum to 1.", abs(0.1 + 0.2 + 0.7 - 1) < 1e-12)
    ✓ The probabilities sum to 1.
    """
    if not holds:
        raise AssertionError(f"this does not hold here: {sentence}")
    _display(f'<p style="color:{RIGHT}">✓ {html.escape(sentence)}</p>', f"✓ {sentence}")


# ---- predictions -----------------------------------------------------------------------------------------------------


def predict(
    question: str, truth: str | float, choices: Sequence[str] = (), *, close: float = 0.1, unit: str = ""
) -> Callable[[Callable[[], Any]], None]:
    """Ask the reader for a prediction, and run the function below only after the answer.

        @predict("What do the rows sum to?", truth=0.0, close=0)
        def answer():
            print(J.sum(axis=-1))

    Args:
        question: one sentence.
        truth: the right one of the choices, or a number.
        choices: two or more answers to choose from. Without them the reader types a number.
        close: how far off a number may be and count as right, as a share of the truth; of 1 if the truth is 0.
        unit: of the number.

    Returns:
        A decorator for a function without arguments that shows the result.

    Raises:
        ValueError: if the truth is not one of the choices, or is not a number where there are none.
    """
    if choices and truth not in choices:
        raise ValueError(f"truth must be one of the choices, {list(choices)}, got {truth!r}")
    if not choices and isinstance(truth, str):
        raise ValueError(f"truth must be a number where there are no choices, got {truth!r}")

    def ask(reveal: Callable[[], Any]) -> None:
        if _can_move():
            _ask(question, truth, choices, close, unit, reveal)
        else:
            _fold(question, truth, choices, unit, reveal)

    return ask


def comment(guess: str | float, truth: str | float, close: float = 0.1, unit: str = "") -> tuple[bool, str]:
    """Return whether a prediction is right, and what to say of it.

    Args:
        guess: the reader's.
        truth: as `predict` takes it.
        close: as `predict` takes it.
        unit: of the number.

    >>> comment("it falls", "it rises")
    (False, 'You said: it falls. In fact: it rises.')
    >>> comment(80.0, 100.0)
    (False, 'You said 80. It is 100, so you were 20 % too low.')
    >>> comment(97.0, 100.0, unit="errors")
    (True, 'You said 97 errors. It is 100 errors, so you were close.')
    """
    if isinstance(truth, str) or isinstance(guess, str):
        right = guess == truth
        return right, f"You said: {guess}. {'That is right.' if right else f'In fact: {truth}.'}"
    said, is_ = _number(guess, unit), _number(truth, unit)
    off = guess - truth
    if said == is_:
        return True, f"You said {said}. That is right."
    if abs(off) <= close * (abs(truth) or 1.0):
        return True, f"You said {said}. It is {is_}, so you were close."
    way = "high" if off > 0 else "low"
    if truth * guess <= 0:
        return False, f"You said {said}. It is {is_}."
    ratio = guess / truth
    if 0.5 <= ratio <= 2:
        return False, f"You said {said}. It is {is_}, so you were {100 * abs(ratio - 1):.0f} % too {way}."
    factor = max(ratio, 1 / ratio)
    return False, f"You said {said}. It is {is_}, so you were wrong by a factor of {factor:.3g}."


def _number(value: float, unit: str) -> str:
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}") + f" {unit}" * bool(unit)


def _ask(
    question: str, truth: str | float, choices: Sequence[str], close: float, unit: str, reveal: Callable[[], Any]
) -> None:
    import ipywidgets

    wide = {"layout": ipywidgets.Layout(width="max-content"), "style": {"description_width": "initial"}}
    field: Any = (
        ipywidgets.RadioButtons(options=list(choices), value=None, **wide)
        if choices
        else ipywidgets.Text(placeholder="a number", description=unit, **wide)
    )
    button = ipywidgets.Button(description="Show what happens", disabled=True, layout=wide["layout"])
    words, result = ipywidgets.HTML(), ipywidgets.Output()

    def guess() -> Any:  # None as long as there is none
        return field.value if choices else _typed(field.value)

    def answered(_: Any) -> None:
        button.disabled = guess() is None
        no_number = not choices and button.disabled and field.value.strip() not in ("", "-", "−", "+", ".")
        words.value = verdict(False, "Type one number, with a point for decimals, such as 0.5.") if no_number else ""

    def pressed(_: Any) -> None:
        field.disabled = button.disabled = True
        words.value = verdict(*comment(guess(), truth, close, unit))
        with result:
            reveal()

    field.observe(answered, "value")
    button.on_click(pressed)
    asked = ipywidgets.HTML(f"<p><b>Predict:</b> {html.escape(question)}</p>")
    _show_widget(ipywidgets.VBox([asked, field, button, words, result]))


def _typed(text: str) -> float | None:
    """Return the number that the reader typed, or None if it is none."""
    try:
        number = float(text.replace("−", "-"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _fold(question: str, truth: str | float, choices: Sequence[str], unit: str, reveal: Callable[[], Any]) -> None:
    """Show the question, with the answer and what `reveal` shows folded below it."""
    from IPython.utils.capture import capture_output

    with capture_output() as caught:
        reveal()
    answer = f"The answer: {truth if isinstance(truth, str) else _number(truth, unit)}"
    parts = [(f"<p><b>{html.escape(answer)}</b></p>", answer)]
    if caught.stdout:
        parts.append((f"<pre>{html.escape(caught.stdout)}</pre>", caught.stdout.rstrip("\n")))
    for output in caught.outputs:
        plain = output.data["text/plain"]
        parts.append((output.data.get("text/html", f"<pre>{html.escape(plain)}</pre>"), plain))
    listed = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
    asked = f"<p><b>Predict:</b> {html.escape(question)}</p>" + f"<ul>{listed}</ul>" * bool(listed)
    folded = "".join(part for part, _ in parts)
    page = f"{asked}<details><summary>Answer in your head, then unfold this.</summary>{folded}</details>"
    question_alone = question + f" ({'; '.join(choices)})" * bool(choices)
    _display(page, "\n".join([f"Predict: {question_alone}", *(plain for _, plain in parts)]))


# ---- sliders ---------------------------------------------------------------------------------------------------------


def explore(draw: Callable[..., str], alt: str, **choices: Sequence[float]) -> None:
    """Show a chart that follows the reader's sliders while they move.

    Args:
        draw: takes the values by name, and returns a chart of `minikd.learn.chart`. It must be quick: 50 ms at most.
        alt: says what the chart shows, for readers who do not see it.
        **choices: the values of each slider, by its name. A slider begins at the first one, and has them in rising
            order. An underscore in the name is shown as a space.
    """
    first = {name: values[0] for name, values in choices.items()}
    if not _can_move():
        stands = ", ".join(f"{name.replace('_', ' ')} = {value:g}" for name, value in first.items())
        chart = draw(**first)
        _display(
            _picture(chart.encode(), "svg+xml", f"{alt} Here {stands}.") + f"<p>{stands}</p>",
            f"[Chart: {alt}] {stands}",
        )
        return
    import ipywidgets

    picture = ipywidgets.HTML()
    sliders: dict[str, Any] = {
        name: ipywidgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in sorted(values)],
            value=values[0],
            description=name.replace("_", " "),
            style={"description_width": "initial"},  # as wide as the name
            layout=ipywidgets.Layout(width="640px", max_width="100%"),  # as wide as the chart
            continuous_update=True,
        )
        for name, values in choices.items()
    }

    def follow(_: Any = None) -> None:
        picture.value = draw(**{name: slider.value for name, slider in sliders.items()})

    for slider in sliders.values():
        slider.observe(follow, "value")
    follow()
    _show_widget(ipywidgets.VBox([*sliders.values(), picture]))


# ---- what all share --------------------------------------------------------------------------------------------------


def _can_move() -> bool:
    """Return whether the reader can move widgets here."""
    return not os.environ.get(STATIC) and find_spec("ipywidgets") is not None


def _picture(data: bytes, kind: str, alt: str, width: int | None = None) -> str:
    """Return a picture as HTML: unlike a notebook's own way to hold one, this has room for words."""
    wide = f' width="{width}"' if width else ""
    code = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{code}"{wide} style="max-width:100%" alt="{html.escape(alt)}">'


def _display(page: str, plain: str) -> None:
    """Show HTML in a notebook, or plain text where there is no notebook."""
    shell = None
    if find_spec("IPython") is not None:
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
    if shell is None:
        print(plain)
        return
    from IPython.display import display

    display({"text/html": page, "text/plain": plain}, raw=True)  # type: ignore[no-untyped-call]


def _show_widget(widget: Any) -> None:
    from IPython.display import display

    display(widget)  # type: ignore[no-untyped-call]
