"""A student as a classifier of scikit-learn: fit it, put it into a pipeline, search its parameters.

It needs the extra `sklearn`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data.classes import listed, shown
from minikd.data.soft_targets import logit_array, logits_from_probabilities
from minikd.distil.api import Auto, check_hidden, class_numbers, distil, train_teacher

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, clone
    from sklearn.exceptions import NotFittedError
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"DistilledClassifier needs scikit-learn 1.6 or later ({error}): python -m pip install 'minikd[sklearn]'"
    ) from error


class DistilledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A small network that learns from any classifier of scikit-learn.

    `student_` is the `Student`, which can be saved and exported.

    Args:
        teacher: a classifier with `predict_proba` or `decision_function`. A fitted one is used as it is. One that is
            not fitted is cloned, and the clone is fitted to the same data. scikit-learn's `clone`, and so a grid search
            too, takes the fit from a fitted teacher; `sklearn.frozen.FrozenEstimator(teacher)` keeps it. None for a
            network twice as wide, which minikd trains.
        hidden: units of each hidden layer of the student.
        T: the temperature, or "auto", as `minikd.distil.distil` takes it.
        alpha: the weight of the soft targets, in (0, 1], or "auto".
        epochs: passes over the data, or None for a number that suits their size.
        folds: None to learn the answers of the teacher for the examples that it was fitted to. If it knows their labels
            by heart, though they are noisy, a number such as 5 may be better: copies of the teacher that were fitted
            to the other folds then answer each fold. `benchmarks/BEYOND.md` compares both.
        random_state: None, a seed or a generator, as in scikit-learn.

    Attributes:
        student_: what was learnt.
        teacher_: the fitted teacher; a `Network` if minikd trained it.
        classes_: (K,) the labels, in the order of the columns of `predict_proba`.
        n_features_in_: D.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(100, random_state=0)
    >>> student = DistilledClassifier(forest, hidden=(16,), random_state=0).fit(x, y)
    >>> bool(student.score(x, y) > 0.95)
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        *,
        hidden: Sequence[int] = (300, 300),
        T: float | Auto = "auto",
        alpha: float | Auto = "auto",
        epochs: int | None = None,
        folds: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.teacher, self.hidden, self.T, self.alpha = teacher, hidden, T, alpha
        self.epochs, self.folds, self.random_state = epochs, folds, random_state

    def fit(self, X: Any, y: ArrayLike, **others: Any) -> DistilledClassifier:
        """Learn from the teacher's answers for X, and from the labels y. Returns: itself.

        There is a warning if a fitted teacher is right on fewer than half of the examples, or than the commonest class
        has: it may know other inputs.

        Args:
            X: (N, D) features in any units.
            y: (N,) labels.
            **others: are refused, such as sample_weight: each example weighs the same.

        Raises:
            TypeError: if there is anything else to fit to.
            ValueError: if the data cannot be used, or the teacher does not know a label.
        """
        if others:
            rule = "DistilledClassifier learns from X and y only, where each example weighs the same"
            raise TypeError(f"{rule}, got {', '.join(others)}: repeat the examples that must weigh more")
        if isinstance(self.teacher, type):
            name = self.teacher.__name__
            raise ValueError(f"teacher must be a classifier, got the class {name}: write {name}()")
        check_hidden(self.hidden)
        given = X  # a teacher that was fitted to named columns wants to see them
        X, y = validate_data(self, X, y, dtype="numeric")
        check_classification_targets(y)
        labels = np.unique(y)
        if len(labels) < 2:
            raise ValueError(
                f"a classifier needs 2 classes or more, got 1 class, {shown(labels.tolist()[0])}: give data of others"
            )
        seed = int(check_random_state(self.random_state).randint(2**31))
        if self.folds is not None and (self.teacher is None or _is_fitted(self.teacher)):
            raise ValueError("folds needs a teacher of scikit-learn that is not fitted yet: pass a clone of it")
        if self.teacher is None:
            _, classes = class_numbers(y, labels, len(labels))
            assert classes is not None
            self.teacher_, v = train_teacher(X, classes, self.hidden, epochs=self.epochs, seed=seed)
        else:
            self.teacher_ = self.teacher if _is_fitted(self.teacher) else clone(self.teacher).fit(given, y)
            labels = _classes_of(self.teacher_, labels)
            if self.folds is None:
                v = classifier_logits(self.teacher_, given)
            else:
                v = held_out_logits(self.teacher_, given, y, self.folds, seed)
            if self.teacher_ is self.teacher and v.shape[1] == len(labels):  # otherwise distil refuses it
                _warn_of_other_inputs(v, y, np.asarray(labels))
        with warnings.catch_warnings():  # the teacher was asked here, so its rows are in order: noise may be chance
            warnings.filterwarnings("ignore", "only .* of the teacher's answers agree with y")
            self.student_ = distil(
                X,
                y,
                teacher_logits=v,
                labels=labels,
                hidden=self.hidden,
                T=self.T,
                alpha=self.alpha,
                epochs=self.epochs,
                seed=seed,
            )
        self.classes_ = self.student_.labels
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of the most likely class of each example, (N,)."""
        check_is_fitted(self)
        return self.student_.predict(validate_data(self, X, reset=False, dtype="numeric"))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (N, K), in the order of `classes_`."""
        check_is_fitted(self)
        return self.student_.predict_proba(validate_data(self, X, reset=False, dtype="numeric"))


def classifier_logits(teacher: Any, X: Any) -> NDArray[np.floating]:
    """Return the logits of a fitted classifier of scikit-learn, in the order of its `classes_`.

    With `predict_proba` they are log p. If the classifier is a forest, bagged models or nearest neighbours, p is a mean
    of votes, and less than half a vote counts as half a vote: see `logits_from_probabilities`. Without `predict_proba`
    they are what `decision_function` gives; of two classes, d becomes −d/2 and d/2, whose softmax is 1/(1 + exp(−d)).

    A support vector machine for three or more classes counts the votes of pairs of classes. A student follows the steps
    from vote to vote, and learns little else: wrap the machine in `OneVsRestClassifier`. `benchmarks/BEYOND.md` has
    both.

    Args:
        teacher: the classifier.
        X: (N, D) as the classifier takes it.

    Returns:
        (N, K).

    Raises:
        ValueError: if the classifier has neither method, or does not give one number per class.
    """
    return _logits_of(teacher, getattr(teacher, _method(teacher))(X))


def held_out_logits(teacher: Any, X: Any, y: ArrayLike, folds: int, seed: int = 0) -> NDArray[np.floating]:
    """Return what copies of a fitted classifier answer for examples that they have not seen, as logits.

    The examples are dealt into folds, with every class in each. A copy of the classifier is fitted to all folds except
    one, and answers this one.

    Args:
        teacher: the classifier. It stays as it is.
        X: (N, D) as the classifier takes it.
        y: (N,) labels.
        folds: how many, from 2 to the number of examples of the rarest class.
        seed: of the folds.

    Returns:
        (N, K), as `classifier_logits`.

    Raises:
        ValueError: if the number of folds does not fit.
    """
    rarest = int(np.unique(y, return_counts=True)[1].min())
    if rarest < 2:
        raise ValueError("folds need 2 examples of every class, got 1 of the rarest: add some, or leave folds out")
    if not 2 <= folds <= rarest:
        raise ValueError(f"folds must be from 2 to {rarest}, the examples of the rarest class, got {folds}")
    dealt = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return _logits_of(teacher, cross_val_predict(teacher, X, y, cv=dealt, method=_method(teacher)))


def _method(teacher: Any) -> str:
    """Return the name of the method that tells how likely the classes are."""
    for name in ("predict_proba", "decision_function"):
        if hasattr(teacher, name):
            return name
    raise ValueError(
        f"a teacher must have predict_proba or decision_function, but {type(teacher).__name__} has neither: "
        "wrap it in sklearn.calibration.CalibratedClassifierCV"
    )


def _logits_of(teacher: Any, answers: Any) -> NDArray[np.floating]:
    """Return a classifier's answers as logits."""
    if hasattr(teacher, "predict_proba"):
        return logits_from_probabilities(answers, _voters(teacher))
    d = np.asarray(answers)
    return logit_array(np.stack([-d / 2, d / 2], axis=1) if d.ndim == 1 else d)


def _voters(teacher: Any) -> int | None:
    """Return of how many votes a classifier's probabilities are the mean, or None if they are not made of votes."""
    from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier
    from sklearn.frozen import FrozenEstimator
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import Pipeline

    while isinstance(teacher, Pipeline | FrozenEstimator):
        teacher = teacher[-1] if isinstance(teacher, Pipeline) else teacher.estimator
    if isinstance(teacher, BaggingClassifier | ExtraTreesClassifier | RandomForestClassifier):
        return len(teacher.estimators_)
    if isinstance(teacher, KNeighborsClassifier):
        return int(teacher.n_neighbors)
    return None


def _classes_of(teacher: Any, labels: NDArray[Any]) -> Any:
    """Return the classes that a fitted teacher knows, or refuse it if the data have others.

    Args:
        teacher: the classifier.
        labels: (K,) the labels of the data, which count for a teacher without `classes_`.
    """
    known = getattr(teacher, "classes_", labels)
    unknown = [one for one in labels.tolist() if one not in np.asarray(known).tolist()]
    if unknown:
        fix = "fit the teacher to labels like those in y, or leave out the examples of others"
        raise ValueError(f"the teacher knows only the classes {listed(known)}, but y holds {shown(unknown[0])}: {fix}")
    return known


def _warn_of_other_inputs(v: NDArray[Any], y: ArrayLike, labels: NDArray[Any]) -> None:
    """Warn if a fitted teacher is seldom right, as if it had been fitted to other inputs than X."""
    share = float(np.mean(labels[v.argmax(axis=1)] == y))
    if share < max(0.5, np.unique(y, return_counts=True)[1].max() / len(v)):
        fix = "in a pipeline, put the steps before it into the teacher, too"
        what = "was it fitted to the same columns, in the same order and units?"
        warnings.warn(
            f"only {100 * share:.1f} % of the fitted teacher's answers agree with y: {what} {fix}", stacklevel=3
        )


def _is_fitted(teacher: Any) -> bool:
    """Return whether a teacher is fitted. What cannot be fitted, such as a wrapper of your own, counts as fitted."""
    try:
        check_is_fitted(teacher)
    except NotFittedError:
        return False
    except TypeError:  # no estimator of scikit-learn
        return True
    return True
