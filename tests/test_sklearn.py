"""DistilledClassifier is a classifier of scikit-learn, and learns from every kind of teacher that scikit-learn has."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the extra sklearn is not installed")
from sklearn.datasets import load_wine  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    BaggingClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC, LinearSVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from minikd.core.softmax import softmax  # noqa: E402
from minikd.distil.sklearn import DistilledClassifier, classifier_logits  # noqa: E402

X, Y = load_wine(return_X_y=True)
FAST = {"hidden": (12,), "epochs": 40, "random_state": 0}
CHECKED = [
    DistilledClassifier(hidden=(10,), epochs=25),
    DistilledClassifier(LogisticRegression(), hidden=(10,), epochs=25),
]
CHECKS = [
    (estimator, check, f"{estimator.teacher}: {check.func.__name__}, {n}")
    for estimator in CHECKED
    for n, (_, check) in enumerate(estimator_checks_generator(estimator))
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of the teacher
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("estimator", "check"), [one[:2] for one in CHECKS], ids=[one[2] for one in CHECKS])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)
