"""The rows of the scoreboard, one module per section of the paper."""

from minikd.paper.lab.scoreboard import Row
from minikd.paper.rows import ensembles, false_labels, few, gradients, grid, missing, specialists, speech, students

_SECTIONS: tuple[tuple[Row, ...], ...] = (
    students.ROWS, grid.ROWS, missing.ROWS, gradients.ROWS, ensembles.ROWS, few.ROWS, false_labels.ROWS,
    specialists.ROWS, speech.ROWS,
)  # fmt: skip
ROWS: dict[str, Row] = {row.id: row for rows in _SECTIONS for row in rows}
