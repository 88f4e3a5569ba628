"""A row of the scoreboard: a claim of the paper, its figure, the jobs that measure ours, and how they are judged.

Rows name their jobs by profile: "smoke" proves that the code runs and claims nothing, "cpu" gives real figures on two
cores, and "full" repeats them with more seeds at full length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minikd.paper.lab.jobs import Job, Json, Result, Store
from minikd.system.files import write_atomically
from minikd.theory.statistics import Interval, prediction

PROFILES = ("smoke", "cpu", "full")
REPRODUCED, DIRECTION, NOT = "reproduced", "reproduced in direction", "not reproduced"
REFERENCE = "reference"
"""The verdict of a row that claims nothing: other rows are compared with it."""


class Name(NamedTuple):
    """What a job is to its row.

    Attributes:
        kind: in a word, as in "student".
        at: the number that the row varies: a temperature, a width, a rate, or a share.
        seed: of the repetition.
    """

    kind: str
    at: float = 0.0
    seed: int = 0


Jobs: TypeAlias = dict[Name, Job]
Results: TypeAlias = Mapping[Name, Result]


def of(results: Results, kind: str, at: float = 0.0) -> list[Result]:
    """Return the results of one kind at one number, one per seed."""
    return grouped(results)[kind][at]


def grouped(results: Results) -> dict[str, dict[float, list[Result]]]:
    """Return the results by kind and number, one per seed."""
    groups: dict[str, dict[float, list[Result]]] = {}
    for name, result in results.items():
        groups.setdefault(name.kind, {}).setdefault(name.at, []).append(result)
    return groups


def errors_by(results: Results, kind: str) -> dict[float, list[Any]]:
    """Return the test errors of one kind by number, one entry per seed."""
    return {at: [result.record["errors"] for result in found] for at, found in grouped(results)[kind].items()}


class Outcome(NamedTuple):
    """The outcome of a row.

    Attributes:
        ours: our figure, in words.
        verdict: REPRODUCED, DIRECTION, NOT or REFERENCE.
        why: the reason for the verdict.
        numbers: the figures behind it, in plain JSON.
        interval: the 95 % interval that the verdict rests on, in words, and what it is of; "" if there is none.
        seeds: how many runs with different seeds the interval rests on.
    """

    ours: str
    verdict: str
    why: str
    numbers: Json
    interval: str = ""
    seeds: int = 1


def verdict(whole: object, direction: object = False) -> str:
    """Return REPRODUCED if the whole claim holds, DIRECTION if only its direction does, and NOT otherwise.

    What holds is decided by a 95 % interval, never by a mean. This is the rule of all rows:

    - A figure of a single run is reproduced if it is not below the interval in which one more run of ours lies, where
      lower is better (`as_good`).
    - An effect is reproduced if its whole interval lies above what the paper claims, and in direction if its whole
      interval lies above 0 (`effect`).
    """
    return REPRODUCED if whole else DIRECTION if direction else NOT


def as_good(values: Sequence[float] | np.ndarray, figure: float) -> bool:
    """Return whether one more run like these could be as good as a single run of the paper; lower is better.

    One run alone decides nothing.
    """
    return len(values) > 1 and prediction(values).low <= figure


def effect(found: Interval | None, claimed: float = 0.0) -> str:
    """Return the verdict on an effect of which the paper claims more than `claimed`; None means that there is none."""
    return NOT if found is None else verdict(found.low > max(0.0, claimed), found.low > 0)


@dataclass(frozen=True)
class Row:
    """A claim.

    Attributes:
        id: as the project numbers the paper's claims.
        claim: in one line; {members} stands for the size of an ensemble.
        paper: the paper's figure, as text.
        jobs: returns a profile's jobs by name.
        judge: returns the outcome, from the profile and the results.
        members: returns the size of a profile's ensemble.
    """

    id: str
    claim: str
    paper: str
    jobs: Callable[[str], Jobs]
    judge: Callable[[str, Results], Outcome]
    members: Callable[[str], int] = lambda profile: 0

    def about(self, profile: str) -> str:
        """Return the claim as a profile tests it."""
        members = self.members(profile)
        return self.claim.format(members="ten" if members == 10 else members)

    def judged(self, profile: str, jobs: Jobs, store: Store, command: str) -> Json:
        """Return this row's line of the scoreboard, in plain JSON.

        Args:
            profile: which one.
            jobs: this row's jobs, all of them done.
            store: where their results are.
            command: the command that does this row again.

        Raises:
            CheckpointError: if a result is damaged.
        """
        results = {name: store.get(job) for name, job in jobs.items()}
        outcome = self.judge(profile, results)
        if profile == "smoke":
            outcome = outcome._replace(verdict="claims nothing", why="smoke shows that the code runs")
        seconds = round(sum(result.record["seconds"] for result in results.values()), 1)
        about = {"row": self.id, "claim": self.about(profile), "paper": self.paper}
        return {**about, **outcome._asdict(), "command": command, "seconds": seconds}


# ---- the scoreboard --------------------------------------------------------------------------------------------------


def table(board: Sequence[Json]) -> str:
    """Return the scoreboard for people."""
    return "\n\n".join(
        f"{line['row']:<3} {line['claim']}\n"
        f"    paper    {line['paper']}\n"
        f"    ours     {line['ours']}\n"
        f"    interval {line['interval'] or 'none'}; seeds: {line['seeds']}\n"
        f"    verdict  {line['verdict']}: {line['why']}\n"
        f"    command  {line['command']}"
        for line in board
    )


def write(path: Path, record: Json) -> None:
    """Write plain JSON, one item of a list per line, so that a change shows where it is."""
    lines = []
    for name, value in record.items():
        items = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) if isinstance(value, list) else ""
        text = f"[\n  {items}\n ]" if items else json.dumps(value, ensure_ascii=False)
        lines.append(f" {json.dumps(name)}: {text}")
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
