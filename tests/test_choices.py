"""The choices that minikd makes for the user, held against what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from minikd.commands.distil import main
from minikd.core.losses import hard_cross_entropy, soft_cross_entropy
from minikd.distil.choices import choose_alpha, choose_T, settings, teacher_settings
from minikd.theory.statistics import mean_interval
from minikd.training.runs import load_network

RESULTS = Path(__file__).parent.parent / "minikd" / "paper" / "results"


def ranged(R, K=10, N=50):
    """Logits with a median range of R."""
    v = np.random.default_rng(0).uniform(0, 1, (N, K))
    v[:, 0], v[:, 1] = 0, 1
    return R * v


def T_for_mnist(R, *hidden):
    return choose_T(ranged(R, N=60_000), hidden, inputs=784).value


def measured():
    """(profile, width) → T (t,) and errors (seeds, t) of rows M4 and M5."""
    for profile in ("cpu", "full"):
        rows = json.loads((RESULTS / f"{profile}.json").read_text(encoding="utf-8"))["rows"]
        for row in rows:
            if row["row"] in ("M4", "M5"):
                T = np.array(row["numbers"]["T"])
                yield from ((profile, int(w), T, np.array(e)) for w, e in row["numbers"]["errors"].items())


GRID = {(profile, width): (T, errors) for profile, width, T, errors in measured()}


def excess(profile, width, chosen):
    """Errors more than at the width's best T, seed by seed, with an interval; between two T along log T."""
    T, errors = GRID[profile, width]
    at = np.array([np.interp(np.log(chosen), np.log(T), row) for row in errors])
    return mean_interval(at - errors[:, np.argmin(errors.mean(axis=0))])


@pytest.mark.parametrize("R", [24.0, 29.0])  # of the teachers of these rows, to within what their recipes change
@pytest.mark.parametrize(("profile", "width"), GRID)
def test_the_chosen_T_is_within_the_noise_of_the_best_T_of_each_width(profile, width, R):
    found = excess(profile, width, T_for_mnist(R, width, width))
    assert found.low <= 0
    assert found.value < 0.05 * GRID[profile, width][1].mean()


@pytest.mark.parametrize(("width", "other"), [(30, 800), (800, 30)])
def test_the_T_for_another_width_would_be_worse_than_noise(width, other):
    assert excess("full", width, T_for_mnist(29.0, other, other)).low > 0


def test_T_grows_in_proportion_to_the_logits_and_with_the_student():
    assert T_for_mnist(240.0, 800) == pytest.approx(10 * T_for_mnist(24.0, 800))
    chosen = [T_for_mnist(24.0, width) for width in (10, 30, 60, 100, 300, 800, 2000)]
    assert chosen == sorted(chosen)
    assert chosen[0] == chosen[1] < chosen[2] < chosen[3] < chosen[4] < chosen[5] == chosen[6]


def test_the_same_student_is_large_for_few_examples():
    few, many = (choose_T(ranged(24.0, N=N), (30, 30), inputs=64).value for N in (300, 60_000))
    assert (few, many) == pytest.approx((8.0, 3.0))


def test_the_range_is_the_typical_one_so_single_examples_decide_nothing():
    v = ranged(24.0)
    v[0] *= 1e6
    assert choose_T(v, (300,), 64).value == pytest.approx(8.0)


def test_T_is_never_below_1_and_constant_logits_are_no_error():
    for R in (0.0, 0.1, 2.9):
        assert choose_T(ranged(R), (300,), 64).value == 1


def test_the_reason_is_one_sentence_with_the_numbers_that_decided():
    words = choose_T(ranged(24.0, N=1000), (80,), 64).why
    assert words == (
        "T = 8, because the teacher's logits have a range of 24 in the median, and a student with 0.67 parameters for "
        "each of them can match all of them: the range is 3 T, so the least likely class keeps 5 % of the likeliest "
        "one's weight."
    )
    assert "needs no softening" in choose_T(ranged(1.0), (300,), 64).why


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((2, 1)), np.full((2, 3), np.nan)])
def test_other_logits_are_refused(wrong):
    with pytest.raises(ValueError, match="v must"):
        choose_T(wrong, (30,), 4)


def taught(K=5, N=4000, mistaken=0.0, false=0.0):
    """Logits of a teacher that is unsure where it is mistaken, and labels of which a share is false."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    v = rng.uniform(-12, -8, (N, K))
    v[np.arange(N), y] = 0
    unsure = np.arange(N) < mistaken * N
    v[unsure] += 20 * (np.arange(K) == (y[unsure, None] + 1) % K) - 7 * (np.arange(K) == y[unsure, None])
    v[unsure] /= 10
    flipped = rng.random(N) < false
    return v, np.where(flipped, (y + 1 + rng.integers(0, K - 1, N)) % K, y)


def label_share(v, y, alpha, T):
    """The labels' share of the norms in a fresh student's gradient, by the losses themselves, case by case."""
    soft, hard = [], []
    for row, label in zip(v[:200], y[:200], strict=True):
        z = np.zeros((1, v.shape[1]))
        soft.append(alpha * T**2 * np.linalg.norm(soft_cross_entropy(z, v=row[None], T=T)[1]))
        hard.append((1 - alpha) * np.linalg.norm(hard_cross_entropy(z, y=np.array([label]))[1]))
    return np.mean(hard) / (np.mean(soft) + np.mean(hard))


@pytest.mark.parametrize("T", [1.0, 4.0, 20.0])
def test_the_labels_of_a_teacher_without_mistakes_get_a_tenth_of_the_first_gradient(T):
    v, y = taught(N=200)
    assert label_share(v, y, choose_alpha(v, y, T).value, T) == pytest.approx(0.1)


def test_the_labels_get_more_the_more_often_the_teacher_is_mistaken_and_at_most_six_tenths():
    shares = []
    for mistaken in (0.0, 0.004, 0.01, 0.02, 0.1, 0.3, 0.7):
        v, y = taught(mistaken=mistaken)
        alpha = choose_alpha(v, y, 4.0).value
        rng = np.random.default_rng(1).permutation(len(v))
        shares.append(label_share(v[rng], y[rng], alpha, 4.0))
    assert shares == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.6, 0.6, 0.6], abs=0.03)


def test_false_labels_are_not_held_against_the_teacher():
    clean, false = (choose_alpha(*taught(false=share), T=4.0).value for share in (0.0, 0.3))
    assert false > 0.9 * clean
    assert choose_alpha(*taught(mistaken=0.3), T=4.0).value < 0.6 * clean


@pytest.mark.parametrize("T", [1.0, 8.0, 1000.0])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 20.0, 1e4])
def test_a_teacher_with_nothing_to_teach_leaves_the_gradient_to_the_labels(T, scale):
    v, y = taught(N=1000)
    v = scale * np.random.default_rng(5).normal(size=v.shape)
    choice = choose_alpha(v, y, T)
    assert 0 < choice.value <= 0.01
    assert label_share(v, y, choice.value, T) >= 0.985
    assert "no more than by chance: it has nothing to teach, but the labels have" in choice.why


def test_a_teacher_whose_probabilities_are_nearly_equal_gets_no_weight_either():
    v, y = taught(N=1000)
    choice = choose_alpha(1e-4 * v, y, 1.0)
    assert choice.value == pytest.approx(0.01)
    assert "probabilities at T = 1 are nearly equal: it has nothing to teach" in choice.why
    assert choose_alpha(1e-4 * v, None, 1.0).value == 1


def test_a_teacher_that_always_names_the_commonest_class_has_nothing_to_teach():
    y = (np.arange(1000) % 10 == 0).astype(int)
    v = np.random.default_rng(0).normal(0, 0.1, (1000, 2)) + np.array([9.0, 0.0])
    assert choose_alpha(v, y, 3.0).value < 0.011


def test_no_temperature_is_advised_for_a_range_of_0():
    assert choose_T(np.zeros((50, 3)), (300,), 64).why == (
        "T = 1, because for most examples the teacher's logits are equal, at every temperature."
    )


def test_no_number_below_a_million_has_an_exponent():
    v, y = taught(mistaken=1.0)
    y[:2] = (y[:2] + 1) % 5  # a teacher that is right now and then
    whys = [choose_alpha(v, y, 4.0).why, choose_T(ranged(24_000.0, N=20), (800, 800), 64).why]
    assert not any("e+" in why for why in whys), whys


def test_without_labels_the_teacher_has_all_the_weight():
    assert choose_alpha(ranged(20.0), None, 4.0) == (1.0, choose_alpha(ranged(20.0), None, 4.0).why)


def test_the_reason_for_alpha_has_its_numbers():
    v, y = taught(mistaken=0.02)
    words = choose_alpha(v, y, 4.0).why
    assert "agrees with 98 % of the labels and is probably mistaken about 2 %" in words
    assert "so the labels get 40 % of a fresh student's gradient" in words


@pytest.mark.parametrize("N", [1, 7, 100, 500, 3000, 20_000, 60_000, 200_000])
def test_settings_fit_every_size_of_data_set(N):
    config = settings(np.zeros((N, 2), np.float32), [30, 20], T=3.0, alpha=0.8, seed=4)
    assert (config.hidden, config.T, config.alpha, config.seed) == ((30, 20), 3.0, 0.8, 4)
    assert config.batch_size <= N
    assert config.epochs * (N // config.batch_size) >= (1800 if N >= 100 else 300)
    assert config.clip_norm == 1
    assert config.learning_rate <= 0.1


def test_a_teacher_is_wider_than_its_student_and_drops_units_but_no_features():
    features, images = (teacher_settings(500, [30, 20], images=images, seed=4) for images in (False, True))
    assert (features.hidden, features.alpha, features.seed) == ((60, 40), 0, 4)
    assert (features.drop_input, images.drop_input) == (0, 0.1)
    assert features.drop_hidden == images.drop_hidden > 0
    assert features.epochs == settings(np.zeros((500, 2)), [30, 20], T=1.0, alpha=0.0).epochs
    given = teacher_settings(500, [30, 20], images=False, hidden=(7,), epochs=3)
    assert (given.hidden, given.epochs) == ((7,), 3)


def test_the_command_and_the_classifier_train_the_same_teacher(tmp_path):
    pytest.importorskip("sklearn")
    from minikd.distil.sklearn import DistilledClassifier

    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    seed = str(np.random.RandomState(0).randint(2**31))  # what the classifier makes of its random_state
    words = ["--hidden", "4", "--epochs", "2", "--teacher-epochs", "2", "--quiet", "--json", "--out", str(tmp_path)]
    main([str(tmp_path / "data.npz"), *words, "--seed", seed])
    (path,) = (tmp_path / "teachers").iterdir()
    other = DistilledClassifier(hidden=(4,), epochs=2, random_state=0).fit(x, y)
    np.testing.assert_array_equal(other.teacher_.flat, load_network(path).flat)
