"""Which share of the gradient the labels deserve, for `--alpha auto`: on held-out examples, never on a test part.

    python -m benchmarks.choose_alpha

Each setting has a data set, a teacher and labels. Students learn from the teacher's answers and the labels, each with
another share of the labels in the gradient of a fresh student, and are judged on examples that neither they nor their
teacher have seen. For the data sets of `benchmarks.beyond` these are the four folds of the training part of its first
split. For MNIST they are the last 10,000 training images; the teacher that ships with minikd has seen their labels, but
is not asked about them. Teachers know their labels by heart, or know more than the labels, or make mistakes; and
some labels are false.

A rule turns what the teacher says of the labels into a share. The page compares minikd's constants with others, which
are chosen without each data set in turn, and judged on it.

It needs the extra `bench`, downloads nothing, and takes about six minutes on one core. It writes
`benchmarks/results/choose_alpha.json` and `benchmarks/ALPHA.md`. With `--page` it only writes the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from benchmarks import alpha_page
from benchmarks.beyond import CASES, Case, Row, population, width
from minikd.data.images import Dataset, load_mnist
from minikd.data.inputs import Inputs
from minikd.distil.api import train_teacher
from minikd.distil.choices import choose_T, contradictions, weight_of_share
from minikd.distil.sklearn import classifier_logits, held_out_logits
from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.system.cli import Parser, start
from minikd.theory.calibration import log_loss
from minikd.training.answers import logits
from minikd.training.runs import write_json
from minikd.training.teacher import load_teacher

SHARES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
"""The labels' shares of a fresh student's gradient that are tried; 1 is the student alone."""
OTHER_T, OTHER_SHARES = 4.0, (0.1, 0.6)
"""Another temperature, and the shares that are tried with it."""
FOLDS, SEED = 4, 0
FALSE = 0.2
"""The share of false labels, where there are some."""
IMAGES = 50_000
"""MNIST's training images before the ones that are held out."""
UNITS = 30
"""The hidden units of MNIST's students, as in row M5 of PAPER.md; others have as many as 5 kB allow."""


class Lesson(NamedTuple):
    """What a student learns from, x, y and the teacher's logits v, and the examples that it is judged on."""

    x: np.ndarray
    y: np.ndarray
    v: np.ndarray
    x_held: np.ndarray
    y_held: np.ndarray


class Setting(NamedTuple):
    """A data set, a teacher, what its answers and the labels are, and the lessons, one per fold."""

    data: str
    teacher: str
    kind: str
    lessons: Callable[[], Iterator[Lesson]]
    hidden: int | None = None


def spoilt(y: np.ndarray, share: float) -> np.ndarray:
    """Return labels of which this share, on average, is replaced by another class."""
    rng, K = np.random.default_rng(SEED), int(y.max()) + 1
    return np.where(rng.random(len(y)) < share, (y + rng.integers(1, K, len(y))) % K, y)


def folds(case: Case, kind: str, model: Any = None, name: str = "") -> Setting:
    """Return the setting of a case of `benchmarks.beyond`, with its own teacher or another model."""

    def lessons() -> Iterator[Lesson]:
        x, y = case.load()
        x, _, y, _ = train_test_split(x, y, test_size=0.3, stratify=y, random_state=SEED)
        for learnt, held in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
            given = spoilt(y[learnt], FALSE) if kind == alpha_page.FALSE else y[learnt]
            teacher = (case.teacher(SEED) if model is None else model).fit(x[learnt], given)
            v = classifier_logits(teacher, x[learnt])
            if kind == alpha_page.UNSEEN:
                v = held_out_logits(teacher, x[learnt], given, 5, SEED)
            yield Lesson(x[learnt], given, v, x[held], y[held])

    return Setting(case.data, name or case.model, kind, lessons)


def mnist(N: int, teacher: str, kind: str) -> Setting:
    """Return the setting of some of MNIST's training images."""

    def lessons() -> Iterator[Lesson]:
        train, _ = load_mnist()
        x, y = train.images, train.labels.astype(np.int64)
        drawn = np.random.default_rng(SEED).permutation(IMAGES)
        part, given = drawn[:N], y[drawn[:N]]
        if kind == alpha_page.FALSE:
            given = spoilt(given, FALSE)
        if teacher == alpha_page.SHIPPED:
            v = load_teacher()[0].logits[part]
        else:
            source, labels = (drawn[-300:], y[drawn[-300:]]) if kind == alpha_page.UNSEEN else (part, given)
            network, _ = train_teacher(x[source], labels, (100, 100), seed=SEED)
            v = np.asarray(logits(network, Dataset(x[part], given, "part", 10)))
        yield Lesson(x[part], given, v, x[IMAGES:], y[IMAGES:])

    return Setting(f"MNIST, {N:,}", teacher, kind, lessons, UNITS)


def _settings() -> list[Setting]:
    digits, _, _, cancer, wine, segments, phishing = CASES
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, random_state=SEED)
    own, false, unseen, weak = alpha_page.OWN, alpha_page.FALSE, alpha_page.UNSEEN, alpha_page.WEAK
    same, shipped, others = "network of the same examples", alpha_page.SHIPPED, "network of 300 other images"
    return [
        *(folds(case, own) for case in CASES),
        *(mnist(N, by, own) for N in (300, 1000, 3000) for by in (same, shipped)),
        *(folds(case, unseen) for case in (digits, cancer, wine, phishing)),
        mnist(1000, others, unseen),
        folds(digits, weak, GaussianNB(var_smoothing=0.01), "naive Bayes"),
        folds(digits, weak, tree, "tree of depth 6"),
        *(folds(case, weak, linear, "logistic regression") for case in (cancer, wine, segments, phishing)),
        *(folds(case, false) for case in (digits, CASES[1], segments)),
        *(folds(case, false, linear, "logistic regression") for case in (digits, cancer, wine, segments, phishing)),
        *(mnist(1000, by, false) for by in (same, shipped)),
    ]


SETTINGS = _settings()


def one_lesson(lesson: Lesson, hidden: int | None) -> Row:
    """Return what the students of a lesson got wrong, and what a rule may look at."""
    x, y, v, x_held, y_held = lesson
    D, K = Inputs.of(x).size, v.shape[1]
    layers = (hidden or width(5, D, K),)
    T = choose_T(v, layers, D).value
    pairs = [(T, share) for share in SHARES[:-1]] + [(OTHER_T, share) for share in OTHER_SHARES]
    weights = [(T, weight_of_share(share, v, T)) for T, share in pairs]
    z = population((x, y), v, layers, [*weights, (1.0, 0.0)], SEED, x_held)
    order = [*range(len(SHARES) - 1), len(z) - 1, *range(len(SHARES) - 1, len(z) - 1)]  # the student alone has share 1
    contradicted, sure = contradictions(v, y)
    return {
        "learnt": len(y),
        "judged": len(y_held),
        "units": layers[0],
        "T": T,
        "contradicted": contradicted,
        "sure": sure,
        "alpha": [alpha for _, alpha in weights[: len(SHARES) - 1]],
        "errors": [int(np.count_nonzero(z[i].argmax(axis=-1) != y_held)) for i in order],
        "log_loss": [log_loss(z[i], y_held) for i in order],
    }


def one_setting(number: int) -> Row:
    """Return the row of a setting: means over its folds, and sums of errors and judged examples."""
    setting = SETTINGS[number]
    with threadpool_limits(1):
        found = [one_lesson(lesson, setting.hidden) for lesson in setting.lessons()]
    row: Row = {"data": setting.data, "teacher": setting.teacher, "kind": setting.kind}
    for key in found[0]:
        over = np.sum if key in ("errors", "judged") else np.mean
        value = over([one[key] for one in found], axis=0)
        row[key] = value.tolist() if over is np.sum else np.round(value, 4).tolist()
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every setting, write the JSON and the page."""
    parser = Parser("choose_alpha", __doc__ or "", package="benchmarks")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page from the results")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes [2]")
    args = parser.parse_args(argv)
    if not args.page:
        record: Row = {"command": "python -m benchmarks.choose_alpha", "machine": machine(CPU), "shares": SHARES}
        record |= {"other_T": OTHER_T, "other_shares": OTHER_SHARES, "folds": FOLDS, "false": FALSE, "seed": SEED}
        record["rows"] = []
        with ProcessPoolExecutor(args.workers) as pool:
            for row in pool.map(one_setting, range(len(SETTINGS))):
                record["rows"].append(row)
                print(f"{row['data']}, {row['teacher']}, {row['kind']}: done", flush=True)
                write_json(alpha_page.RESULT, record)
    alpha_page.write()


if __name__ == "__main__":
    start(main)
