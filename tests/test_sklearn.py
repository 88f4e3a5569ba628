"""DistilledClassifier is a classifier of scikit-learn, and learns from every kind of teacher that scikit-learn has."""

import re
from pathlib import Path

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the extra sklearn is not installed")
from sklearn import (  # noqa: E402
    base,
    datasets,
    ensemble,
    frozen,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from minikd.core.softmax import softmax  # noqa: E402
from minikd.distil import export_student, load_student  # noqa: E402
from minikd.distil.sklearn import DistilledClassifier, classifier_logits, held_out_logits  # noqa: E402

X, Y = datasets.load_wine(return_X_y=True)
FAST = {"hidden": (12,), "epochs": 40, "random_state": 0}
CHECKED = [
    DistilledClassifier(hidden=(10,), epochs=25),
    DistilledClassifier(linear_model.LogisticRegression(), hidden=(10,), epochs=25),
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


TEACHERS = {
    "forest": ensemble.RandomForestClassifier(30, random_state=0),
    "bagging": ensemble.BaggingClassifier(n_estimators=15, random_state=0),
    "boosting": ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    "neighbours": pipeline.make_pipeline(preprocessing.StandardScaler(), neighbors.KNeighborsClassifier(7)),
    "tree": tree.DecisionTreeClassifier(random_state=0),
    "Bayes": naive_bayes.GaussianNB(),
    "regression": pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
    "support vectors": pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC()),
    "ridge": linear_model.RidgeClassifier(),
    "none": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("classes", [3, 2])
def test_a_student_learns_from_every_kind_of_teacher(name, classes):
    names = np.array(["red", "rosé", "white"])
    x, y = X[classes > Y], names[Y[classes > Y]]
    student = DistilledClassifier(TEACHERS[name], **FAST).fit(x, y)
    assert student.classes_.tolist() == names[:classes].tolist()
    assert student.score(x, y) > 0.95
    if name != "none":
        agreed = np.mean(student.predict(x) == student.teacher_.predict(x))
        assert agreed > 0.95
    np.testing.assert_allclose(student.predict_proba(x).sum(axis=1), 1, rtol=1e-5)


def test_the_softmax_of_a_classifiers_logits_is_its_probability():
    model = linear_model.LogisticRegression(max_iter=10_000).fit(preprocessing.scale(X), Y)
    x = preprocessing.scale(X)
    p = model.predict_proba(x)
    np.testing.assert_allclose(softmax(classifier_logits(model, x)), p, atol=1e-6)
    two = linear_model.RidgeClassifier().fit(x[Y < 2], Y[Y < 2])
    q = softmax(classifier_logits(two, x))
    np.testing.assert_allclose(q[:, 1], 1 / (1 + np.exp(-two.decision_function(x))), rtol=1e-9)
    np.testing.assert_array_equal(q.argmax(axis=1), two.predict(x))


@pytest.mark.parametrize("wrap", [lambda model: model, frozen.FrozenEstimator, pipeline.make_pipeline])
def test_a_zero_of_a_forest_is_half_a_tree(wrap):
    forest = wrap(ensemble.RandomForestClassifier(20, random_state=0).fit(X, Y))
    v = classifier_logits(forest, X)
    zero = forest.predict_proba(X) == 0
    assert zero.any()
    np.testing.assert_allclose(v[zero], np.log(1 / 40))
    assert v.min() == v[zero].min()
    assert classifier_logits(tree.DecisionTreeClassifier().fit(X, Y), X).min() == np.log(2.0**-23)


def test_a_fitted_teacher_is_used_as_it_is_and_one_that_is_not_is_left_so():
    forest = ensemble.RandomForestClassifier(20, random_state=0)
    student = DistilledClassifier(forest, **FAST).fit(X, Y)
    assert student.teacher_ is not forest
    assert not hasattr(forest, "classes_")
    forest.fit(X, (Y + 1) % 3)  # a teacher that is wrong: with alpha = 1 the student is as wrong
    with pytest.warns(UserWarning, match=r"only 0\.0 % of the fitted teacher's answers agree with y: was it fitted to"):
        student = DistilledClassifier(forest, alpha=1.0, **FAST).fit(X, Y)
    assert student.teacher_ is forest
    assert np.mean(student.predict(X) == (Y + 1) % 3) > 0.95
    with pytest.warns(UserWarning, match="the fitted teacher's answers"):
        kept = base.clone(DistilledClassifier(frozen.FrozenEstimator(forest), alpha=1.0, **FAST)).fit(X, Y)
    np.testing.assert_array_equal(kept.predict(X), student.predict(X))


def test_a_fitted_teacher_may_know_more_classes_than_the_data_have_but_not_fewer():
    forest = ensemble.RandomForestClassifier(20, random_state=0).fit(X, Y)
    student = DistilledClassifier(forest, **FAST).fit(X[Y > 0], Y[Y > 0])
    assert student.classes_.tolist() == [0, 1, 2]
    few = ensemble.RandomForestClassifier(20, random_state=0).fit(X[Y > 0], Y[Y > 0])
    with pytest.raises(ValueError, match="the teacher knows only the classes 1, 2, but y holds 0: fit"):
        DistilledClassifier(few, **FAST).fit(X, Y)
    numbers = ensemble.RandomForestClassifier(20, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="knows only the classes 0, 1, 2, but y holds 'a': fit the teacher to labels"):
        DistilledClassifier(numbers, **FAST).fit(X, np.array(["a", "b", "c"])[Y])


@pytest.mark.parametrize("change", [lambda x: 100 - 3 * x, lambda x: x[:, ::-1]], ids=["units", "columns"])
def test_a_fitted_teacher_of_other_inputs_is_told(change):
    forest = ensemble.RandomForestClassifier(20, random_state=0).fit(X, Y)
    with pytest.warns(UserWarning, match="in the same order and units. in a pipeline, put the steps before it into"):
        DistilledClassifier(forest, **FAST).fit(change(X), Y)


def test_what_is_no_classifier_and_what_cannot_be_learnt_is_refused():
    with pytest.raises(ValueError, match=r"got the class RandomForestClassifier: write RandomForestClassifier\(\)"):
        DistilledClassifier(ensemble.RandomForestClassifier, **FAST).fit(X, Y)
    with pytest.raises(TypeError, match="got sample_weight: repeat the examples that must weigh more"):
        DistilledClassifier(**FAST).fit(X, Y, sample_weight=np.ones(len(Y)))
    with pytest.raises(ValueError, match="got 1 class, 0: give"):
        DistilledClassifier(**FAST).fit(X, np.zeros(len(Y), int))


class Own:
    """A teacher that is no estimator: all it has is predict_proba."""

    def predict_proba(self, x):
        return np.where(x[:, :1] > 13, [0.1, 0.9], [0.8, 0.2])


def test_a_teacher_of_your_own_needs_only_predict_proba():
    y = np.where(X[:, 0] > 13, "high", "low")
    student = DistilledClassifier(Own(), **FAST).fit(X, np.where(y == "high", 1, 0))
    assert student.score(X, np.where(y == "high", 1, 0)) > 0.95
    assert isinstance(student.teacher_, Own)


def test_a_teacher_that_gives_no_logits_is_refused():
    with pytest.raises(
        ValueError, match="must have predict_proba or decision_function, but LinearRegression has neither"
    ):
        DistilledClassifier(linear_model.LinearRegression().fit(X, Y), **FAST).fit(X, Y)
    four = np.arange(len(Y)) % 4
    with pytest.raises(ValueError, match="labels must be 6 numbers"):
        DistilledClassifier(svm.SVC(decision_function_shape="ovo"), **FAST).fit(X, four)


def test_held_out_answers_are_of_copies_that_have_not_seen_the_example():
    noise = np.random.default_rng(0).integers(0, 2, len(X))
    knows = neighbors.KNeighborsClassifier(1).fit(X, noise)  # its own examples by heart
    assert np.mean(classifier_logits(knows, X).argmax(axis=1) == noise) == 1
    v = held_out_logits(knows, X, noise, 5)
    assert np.mean(v.argmax(axis=1) == noise) < 0.6
    assert v.min() == np.log(0.5)  # of one vote, less than half counts as half
    margins = held_out_logits(linear_model.RidgeClassifier().fit(X, Y < 1), X, Y < 1, 5)
    assert np.mean(margins.argmax(axis=1) == (Y < 1)) > 0.95
    np.testing.assert_allclose(margins.sum(axis=1), 0, atol=1e-12)


def test_folds_teach_the_student_held_out_answers():
    noise = np.random.default_rng(0).integers(0, 2, len(X))
    nearest = pipeline.make_pipeline(preprocessing.StandardScaler(), neighbors.KNeighborsClassifier(1))
    own, other = (
        DistilledClassifier(nearest, alpha=1.0, folds=folds, hidden=(60,), epochs=200, random_state=0).fit(X, noise)
        for folds in (None, 5)
    )
    assert own.score(X, noise) > 0.95
    assert other.score(X, noise) < 0.6
    assert other.teacher_.score(X, noise) == 1  # the teacher itself is fitted to all


@pytest.mark.parametrize(
    ("teacher", "folds", "words"),
    [
        (None, 5, "folds needs a teacher of scikit-learn that is not fitted yet"),
        (tree.DecisionTreeClassifier().fit(X, Y), 5, "folds needs a teacher of scikit-learn that is not fitted yet"),
        (tree.DecisionTreeClassifier(), 1, "folds must be from 2 to 48, the examples of the rarest class, got 1"),
        (tree.DecisionTreeClassifier(), 49, "folds must be from 2 to 48"),
    ],
)
def test_folds_that_cannot_be_are_refused(teacher, folds, words):
    with pytest.raises(ValueError, match=words):
        DistilledClassifier(teacher, folds=folds, **FAST).fit(X, Y)


def test_folds_of_a_single_example_of_a_class_are_refused():
    few = np.append(np.flatnonzero(Y > 0), np.argmin(Y))
    with pytest.raises(ValueError, match="folds need 2 examples of every class, got 1 of the rarest"):
        DistilledClassifier(tree.DecisionTreeClassifier(), folds=2, **FAST).fit(X[few], Y[few])


@pytest.mark.slow
def test_it_stands_in_a_pipeline_and_a_grid_search():
    student = pipeline.make_pipeline(
        preprocessing.PolynomialFeatures(1),
        DistilledClassifier(ensemble.RandomForestClassifier(10, random_state=0), **FAST),
    )
    search = model_selection.GridSearchCV(student, {"distilledclassifier__T": [1.0, 4.0]}, cv=3).fit(X, Y)
    assert search.best_score_ > 0.9


def test_from_a_model_of_scikit_learn_to_a_file(tmp_path):
    student = DistilledClassifier(ensemble.RandomForestClassifier(20, random_state=0), **FAST).fit(X, Y)
    student.student_.save(tmp_path / "student.safetensors")
    np.testing.assert_array_equal(load_student(tmp_path / "student.safetensors").predict(X), student.predict(X))
    pytest.importorskip("onnx")
    export_student(student.student_, tmp_path / "student.onnx")
    runtime = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "student.onnx")
    index, p = runtime.run(["label_index", "probabilities"], {"features": X})
    np.testing.assert_array_equal(student.classes_[index], student.predict(X))
    np.testing.assert_allclose(p, student.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_the_ten_lines_of_the_readme_lead_from_a_forest_to_an_onnx_file(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "DistilledClassifier" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    runtime = pytest.importorskip("onnxruntime").InferenceSession("student.onnx")
    (index,) = runtime.run(["label_index"], {"features": names["x"]})
    assert np.mean(index == names["y"]) > 0.95
    np.testing.assert_array_equal(index, names["student"].predict(names["x"]))


def test_a_teacher_without_classes_that_gives_other_columns_is_refused():
    class Odd:
        def predict_proba(self, x):
            return np.full((len(x), 5), 0.2) + np.linspace(-0.1, 0.1, 5)

    with pytest.raises(ValueError, match="labels must be 5 numbers or 5 texts"):
        DistilledClassifier(Odd(), **FAST).fit(X, Y)
