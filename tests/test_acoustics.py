"""The rows of speech: what a job of speech gives, what is chosen where, and how the rows are judged."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from spoken import FSDD, needs_fsdd, tree, wav

from minikd.data.checks import DataError
from minikd.engines.device import CPU
from minikd.paper.lab.jobs import Result, Store
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Name
from minikd.paper.lab.statistics import DRAWS, bootstrap
from minikd.paper.rows import ROWS, speech
from minikd.paper.tasks import speech as acoustics
from minikd.paper.tasks.networks import Data, training
from minikd.speech import recogniser, utterances
from minikd.training.answers import logits
from minikd.training.network import Network

TINY = replace(speech.PLANS["smoke"], first=4, digest="tones")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The jobs of every row of speech, done in this process on tones; by key."""
    recordings = replace(acoustics_recordings(tmp_path_factory), digest="tones")
    store = Store(tmp_path_factory.mktemp("store"))
    acoustics.provide(recordings, store)
    results = {}

    def do(job):
        if job.key not in results:
            inputs = {name: do(need) for name, need in job.needs.items()}
            if job.task == "recordings":
                results[job.key] = store.get(job)
            else:
                results[job.key] = Result(*job.do(job.settings, inputs, CPU))
        return results[job.key]

    return do


def acoustics_recordings(tmp_path_factory):
    from minikd.speech.recordings import load

    return load(tree(tmp_path_factory.mktemp("digits") / "tones"))


def test_recordings_come_back_from_the_store_as_they_were(tmp_path_factory, tmp_path):
    recordings, store = acoustics_recordings(tmp_path_factory), Store(tmp_path)
    acoustics.provide(recordings, store)
    back = acoustics._recordings(store.get(acoustics.recordings_job(recordings.digest)))
    assert back.held_out == recordings.held_out
    assert all(np.array_equal(back.part(name), recordings.part(name)) for name in ("train", "test", "speaker"))
    assert np.array_equal(back.signal(7), recordings.signal(7))


def test_recordings_that_nobody_provided_are_named():
    with pytest.raises(ValueError, match="must be provided before the jobs of speech"):
        acoustics.recordings_task({"digest": "0123456789"}, {}, CPU)


@pytest.mark.slow
def test_a_corpus_has_labels_of_its_texts_and_noise_on_its_frames(done):
    spoken = acoustics.Speech(done(speech.corpus(TINY)))
    for part in ("train", "development", "test", "speaker"):
        corpus, labels = spoken.corpus(part), spoken.result.arrays[f"{part}.labels"]
        assert len(corpus) == 4
        assert len(labels) == len(corpus.starts) == len(spoken.examples(part))
        for u, digits in enumerate(corpus.digits):
            own = labels[corpus.bounds[u] : corpus.bounds[u + 1]]
            entered = own[np.append(True, own[1:] != own[:-1])]
            states = [s for s in entered.tolist() if s != spoken.model.states - 1]
            assert states == [s for digit in digits for s in range(5 * digit, 5 * digit + 5)]


def test_a_share_is_whole_utterances_and_at_least_one(done):
    spoken = acoustics.Speech(done(speech.corpus(TINY)))
    bounds = spoken.result.arrays["train.bounds"]
    for share, count in ((0.01, 1), (0.5, 2), (1.0, 4)):
        chosen = spoken.share(share, seed=3)
        whole = [u for u in range(4) if np.isin(np.arange(bounds[u], bounds[u + 1]), chosen).all()]
        assert len(whole) == count
        assert sum(bounds[u + 1] - bounds[u] for u in whole) == len(chosen)


@pytest.mark.slow
def test_a_committee_answers_with_the_mean_logits_of_its_members(done):
    ensemble = done(speech.committee(TINY, 2))
    data = acoustics.Speech(done(speech.corpus(TINY))).examples("train")
    sizes = (26 * 40, *TINY.hidden, data.classes)
    members = [logits(Network(sizes, done(speech.member(TINY, seed)).arrays["flat"]), data) for seed in (0, 1)]
    np.testing.assert_allclose(ensemble.arrays["train"], np.mean(members, axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_look_is_the_mean_answer_to_the_frames_of_the_first_utterance_with_a_7(done):
    plan = replace(TINY, first=0)
    found, spoken = done(speech.look(plan)), acoustics.Speech(done(speech.corpus(plan)))
    corpus, data = spoken.corpus("test"), spoken.examples("test")
    u = [7 in digits for digits in corpus.digits].index(True)
    own = np.arange(corpus.bounds[u], corpus.bounds[u + 1])[:130]
    assert found.record["digits"] == corpus.digits[u]
    np.testing.assert_array_equal(found.arrays["frames"], data.windows(own).reshape(-1, 26, 40)[:, 20])
    sizes = (26 * 40, *plan.hidden, data.classes)
    members = [logits(Network(sizes, done(speech.member(plan, m)).arrays["flat"]), data)[own] for m in (0, 1)]
    np.testing.assert_allclose(found.arrays["z"], np.mean(members, axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.arrays["labels"], data.labels[own])


def test_what_is_judged_is_counted_by_utterance_and_the_penalty_is_the_development_sets(done):
    result = done(speech.member(TINY, 0))
    spoken = acoustics.Speech(done(speech.corpus(TINY)))
    sizes = (26 * 40, *TINY.hidden, spoken.model.states)
    network = Network(sizes, result.arrays["flat"])
    for part in ("development", "test", "speaker"):
        frames, right = result.record["frames"][part]
        z = logits(network, spoken.examples(part))
        assert right == np.count_nonzero(z.argmax(-1) == spoken.result.arrays[f"{part}.labels"])
        assert (frames, right) == (result.arrays[f"{part}.frames"].sum(), result.arrays[f"{part}.right"].sum())
    tried = result.record["development"]
    assert tried[f"{result.record['penalty']:g}"] == min(tried.values())
    score = recogniser.scores(logits(network, spoken.examples("test")), spoken.log_prior)
    heard = recogniser.recognise(score, spoken.corpus("test"), spoken.model, result.record["penalty"])
    errors, words = recogniser.word_errors(spoken.corpus("test").digits, heard)
    assert np.array_equal(result.arrays["test.errors"], errors)
    assert np.array_equal(result.arrays["test.words"], words)


@pytest.mark.slow
def test_the_temperature_is_chosen_on_development_frames_and_used(done):
    def judged(T, right):
        return Result({"T": T, "frames": {"development": [100, right], "test": [100, 100 - right]}}, {})

    record, _ = acoustics.temperature_task({}, {"a": judged(1.0, 50), "b": judged(5.0, 60), "c": judged(2.0, 55)}, CPU)
    assert record["T"] == 5.0
    chosen = done(speech.temperature(TINY)).record["T"]
    assert done(speech.student(TINY, 0)).record["T"] == chosen


@pytest.mark.slow
def test_students_are_taught_by_the_ensemble_with_half_the_weight_on_labels():
    for profile, plan in speech.PLANS.items():
        config = speech.student(plan, 0).settings["config"]
        assert (1 - config["alpha"]) / config["alpha"] == pytest.approx(0.5)
        assert speech.student(plan, 0).needs["teacher"].key == speech.committee(plan, plan.members).key
        assert {job.settings["config"]["T"] for job in speech.temperature(plan).needs.values()} == {1, 2, 5, 10}
        members = [speech.member(plan, seed).settings["config"] for seed in range(plan.members)]
        assert len({config["seed"] for config in members}) == plan.members
        assert len({str({**config, "seed": 0}) for config in members}) == 1
        assert ROWS["S4"].jobs(profile).keys() == ROWS["S3"].jobs(profile).keys()


def test_early_stopping_keeps_the_first_best_epoch(done):
    result = done(speech.few(TINY, speech.HARD, 0.3, 0))
    stopped = result.record["stopped"]
    assert stopped["epoch"] == 1
    assert stopped["frames"] == result.record["frames"]  # smoke has only one epoch
    assert "stopped" not in done(speech.few(TINY, speech.SOFT, 0.3, 0)).record


def test_a_share_smaller_than_a_batch_is_one_batch(done):
    whole, less = (done(speech.few(replace(TINY, batch_size=size), speech.HARD, 0.01, 0)) for size in (10**6, 40))
    frames = whole.record["learnt"][0]
    exact = done(speech.few(replace(TINY, batch_size=frames), speech.HARD, 0.01, 0))
    assert whole.record == exact.record != less.record


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["smoke", "cpu", "full"])
def test_a_recording_too_short_for_its_states_is_named_before_any_work(profile, tmp_path_factory):
    """What is long enough can be aligned, however short the pauses are."""
    recordings = acoustics_recordings(tmp_path_factory)
    plan = speech.PLANS[profile]
    speech.check(plan, recordings)
    least = 80 * plan.per_digit
    lengths = np.full(len(recordings), least)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    short = replace(recordings, samples=np.resize(recordings.samples, bounds[-1]), bounds=bounds)
    speech.check(plan, short)
    drawn = utterances.draw(short, "train", passes=20, snrs=(0.0,), seed=0)
    corpus = recogniser.corpus(drawn, noisy=False)
    assert all(
        own >= plan.per_digit * len(digits) for own, digits in zip(np.diff(corpus.bounds), corpus.digits, strict=True)
    )
    bounds = bounds - (np.arange(len(bounds)) > 7)
    with pytest.raises(DataError, match=rf"0_ann_5\.wav: with . states per digit .* at least {least} samples, got"):
        speech.check(plan, replace(short, bounds=bounds))


# ---- judging ---------------------------------------------------------------------------------------------------------


def system(right, errors, utterances=200, learnt=(100, 70), **more):
    """A result with this many right frames of 100, and wrong words of 5, in each utterance."""
    rng = np.random.default_rng(0)
    arrays, frames = {}, {}
    for part in ("development", "test", "speaker"):
        own = right + rng.integers(-5, 6, utterances)
        wrong = rng.random((utterances, 5)) < errors / 5
        arrays |= {f"{part}.right": own, f"{part}.frames": np.full(utterances, 100)}
        arrays |= {f"{part}.errors": wrong.sum(axis=1), f"{part}.words": np.full(utterances, 5)}
        frames[part] = [100 * utterances, int(own.sum())]
    return Result({"frames": frames, "learnt": list(learnt), **more}, arrays)


def board(single, ensemble, student, errors=(1.0, 0.5, 0.6)):
    named = {Name(speech.HARD, 1.0, i): system(single + i % 2, errors[0]) for i in range(4)}
    named |= {Name("ensemble"): system(ensemble, errors[1]), Name("temperature"): Result({"T": 2.0}, {})}
    return named | {Name("student", seed=i): system(student, errors[2]) for i in range(3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "student", "errors", "verdicts"),
    [
        (70, 69, (1.0, 0.5, 0.6), (REPRODUCED, REPRODUCED, REPRODUCED)),
        (70, 66, (1.0, 0.5, 0.6), (REPRODUCED, REPRODUCED, DIRECTION)),
        (70, 60, (1.0, 0.5, 1.2), (REPRODUCED, NOT, NOT)),
        (70, 69, (1.0, 0.99, 1.2), (DIRECTION, NOT, REPRODUCED)),
    ],
)
def test_systems_are_judged_against_the_members_mean_in_both_measures(ensemble, student, errors, verdicts):
    results = board(62, ensemble, student, errors)
    assert tuple(ROWS[row].judge("cpu", results).verdict for row in ("S2", "S3", "S4")) == verdicts


def test_the_share_that_is_kept_is_of_the_means_and_its_interval_holds_it():
    outcome = ROWS["S4"].judge("cpu", board(62, 70, 68))
    single, ensemble, student = 62.5, 70.0, 68.0
    assert outcome.numbers["kept"] == pytest.approx((student - single) / (ensemble - single), abs=0.02)
    low, high = outcome.numbers["interval"]
    assert low < outcome.numbers["kept"] < high


@pytest.mark.parametrize(
    ("ensemble", "student", "why"),
    [
        (61, 60, "the ensemble gained nothing, -1.5"),  # a ratio of two negative numbers would be 160 %
        (None, 60, "the ensemble gained nothing, +0.00 points"),  # and one over zero an error
        (63, 63, "the ensemble's gain may be chance, +0.5"),
    ],
)
def test_an_ensemble_without_a_sure_gain_leaves_no_share_to_keep(ensemble, student, why):
    results = board(62, 70 if ensemble is None else ensemble, student)
    if ensemble is None:
        results |= {Name(speech.HARD, 1.0, i): results[Name("ensemble")] for i in range(4)}
    outcome = ROWS["S4"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why.startswith(why)
    assert "there is no share to keep" in outcome.why
    assert outcome.numbers == {"kept": None, "interval": None, "students": None}
    assert "%" in outcome.ours


def test_the_interval_of_a_share_is_finite_where_a_few_draws_gain_nothing(monkeypatch):
    draws = np.tile([60.0, 62.0, 61.5], (DRAWS, 1))
    draws[:200, 1] = np.linspace(58, 60, 200)  # 2 % of the draws: their ratios have the wrong sign, or are huge
    monkeypatch.setattr(speech, "bootstrap", lambda counts, total: draws)
    outcome = ROWS["S4"].judge("cpu", board(62, 70, 68))
    assert outcome.numbers["interval"] == [0.75, 0.75]
    draws[:300, 1] = 59.0
    assert ROWS["S4"].judge("cpu", board(62, 70, 68)).verdict == NOT


def test_soft_targets_save_no_share_of_speech_where_hard_ones_lose_nothing():
    outcome = ROWS["R3-speech"].judge("cpu", few(61, 61, 62, full=58))
    assert outcome.verdict == NOT
    assert outcome.why == "hard targets lose nothing, so there is nothing to save"
    assert outcome.numbers["curve"]


def test_a_baseline_far_from_the_papers_is_not_called_reproduced():
    def baseline(*about, errors):
        return {name: one for name, one in board(*about, errors=errors).items() if name.kind == speech.HARD}

    results = baseline(62, 70, 68, errors=(0.55, 0.5, 0.5))
    assert [ROWS[row].judge("cpu", results).verdict for row in ("S1", "R1-speech")] == [REPRODUCED, REPRODUCED]
    results = baseline(10, 70, 68, errors=(4.0, 0.5, 0.5))
    for row, figure in (("S1", "10.9 %"), ("R1-speech", "58.9 %")):
        outcome = ROWS[row].judge("cpu", results)
        assert outcome.verdict == NOT
        assert outcome.why.endswith(f"more than a quarter away from the paper's {figure}")


def test_a_share_of_little_speech_says_how_much_it_is():
    results = few(45, 40, 59)
    assert "; with so little speech, 3% means 100%" in ROWS["R3-speech"].judge("cpu", results).why
    results |= {Name(speech.HARD, 1.0): system(60, 1.0, learnt=(3300, 2000))}
    assert "so little" not in ROWS["R3-speech"].judge("cpu", results).why


def test_the_bootstrap_spreads_as_networks_and_utterances_do():
    """One network on U utterances of rates with variance s²: the mean's is s²/U."""
    one = system(60, 1.0)
    frames, right = one.arrays["test.frames"], one.arrays["test.right"]
    draws = bootstrap([right[None], right[None]], frames)
    assert np.array_equal(draws[:, 0], draws[:, 1])  # the same utterances for all
    expected = np.std(right) / np.sqrt(200)
    assert draws.std() == pytest.approx(expected, rel=0.1)
    apart = bootstrap([np.stack([system(level, 1.0).arrays["test.right"] for level in (50, 70)])], frames)
    assert apart.std() == pytest.approx(10 / np.sqrt(2), rel=0.1)  # two networks, drawn anew


def few(stopped, to_the_end, soft, full=60, train_hard=95):
    def learnt(share):
        return [100, share]

    def hard(seed):
        early = system(stopped, 1.0, learnt=learnt(70)).record
        return system(to_the_end, 1.0, learnt=learnt(train_hard), stopped=early)

    named = {Name(speech.HARD, 1.0, i): system(full, 1.0) for i in range(2)}
    named |= {Name(speech.HARD, 0.03, seed): hard(seed) for seed in range(2)}
    return named | {Name(speech.SOFT, 0.03, seed): system(soft, 1.0, learnt=learnt(65)) for seed in range(2)}


@pytest.mark.parametrize(
    ("stopped", "to_the_end", "soft", "verdicts"),
    [
        (45, 40, 59, (REPRODUCED, REPRODUCED)),
        (45, 46, 50, (DIRECTION, DIRECTION)),
        (45, 46, 44, (DIRECTION, NOT)),
    ],
)
def test_few_data_are_judged_by_what_stopping_and_soft_targets_save(stopped, to_the_end, soft, verdicts):
    results = few(stopped, to_the_end, soft)
    assert tuple(ROWS[row].judge("cpu", results).verdict for row in ("R2-speech", "R3-speech")) == verdicts
    curve = ROWS["R3-speech"].judge("cpu", results).numbers["curve"]
    assert curve[speech.HARD]["1.0"]["test"] == pytest.approx([60, 60], abs=1)


# ---- the command -----------------------------------------------------------------------------------------------------


def command(module, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, **options
    )


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("digits") / "tones")


@pytest.mark.slow
def test_the_command_prints_every_row_of_speech_on_recordings_of_ones_own(tones, tmp_path):
    options = ["--profile", "smoke", "--hidden", "12,12", "--members", "3"]
    done = command("minikd.speech", *options, "--data", tones, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "were done before" not in done.stderr  # nothing was; the recordings are no run
    for row in speech.rows({"smoke": replace(speech.PLANS["smoke"], members=3)}):
        assert f"{row.id:<3} {row.about('smoke')}" in done.stdout
    assert "S2  ensemble of 3" in done.stdout
    assert "mean of 3" in done.stdout
    asked = f"python -m minikd.speech --hidden 12,12 --members 3 --profile smoke --data {tones} --out {tmp_path}"
    assert {line for line in done.stdout.splitlines() if "command " in line} == {f"    command  {asked}"}
    again = command(*asked.split()[2:])  # what is printed finds what was done
    assert again.stdout == done.stdout
    assert re.search(r"(\d+) of \1 runs were done before, and are used again", again.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: does not exist: give the folder that holds recordings/*.wav, or the archive"),
        (["--members", "1"], "--members must be ≥ 2, because one network is no ensemble, got 1"),
        (["--hidden", "12,0"], "--hidden must be layer sizes, each a whole number ≥ 1, got (12, 0)"),
        (["--hidden", "wide"], "must be numbers joined by commas"),
        (["--workers", "0"], "--workers must be ≥ 1"),
    ],
)
def test_what_the_command_cannot_do_ends_in_one_line_with_code_2(arguments, message, tmp_path):
    done = command("minikd.speech", *arguments, "--profile", "smoke", "--out", "out", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr


@pytest.mark.slow
def test_a_bad_recording_ends_the_command_before_any_work(tones, tmp_path):
    (tmp_path / "recordings").mkdir()
    for file in (tones / "recordings").iterdir():
        (tmp_path / "recordings" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "recordings" / "3_ann_4.wav").write_bytes(wav(np.zeros(900)))
    done = command("minikd.speech", "--profile", "smoke", "--data", tmp_path, "--out", tmp_path / "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "3_ann_4.wav: silent, every sample is 0" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_papers_rows_are_of_the_official_recordings_alone(tones, tmp_path):
    done = command("minikd.paper", "S1", "--profile", "smoke", "--data", tones, "--out", tmp_path)
    assert done.returncode == 2
    assert "are not the 3,000 of the Free Spoken Digit Dataset" in done.stderr


@pytest.mark.slow
def test_rows_of_speech_are_left_out_with_a_line_where_the_recordings_cannot_be_had(monkeypatch, tmp_path, capsys):
    from minikd.paper import command as paper

    def nothing():
        raise DataError("the spoken digits cannot be fetched: get them")

    small = training("small", TINY_CONFIG, Data(first=200))
    one = replace(ROWS["M2"], jobs=lambda profile: {Name("alone"): small})
    monkeypatch.setattr(paper, "ROWS", {"M2": one, "S1": ROWS["S1"]})
    monkeypatch.setattr(paper, "fetch", nothing)
    paper.main(["--profile", "smoke", "--out", str(tmp_path), "--workers", "1"])
    said = capsys.readouterr()
    assert "S1 are left out: the spoken digits cannot be fetched: get them" in said.err
    assert "M2" in said.out
    assert "S1" not in said.out
    with pytest.raises(SystemExit) as stopped:
        paper.main(["S1", "--profile", "smoke", "--out", str(tmp_path)])
    assert stopped.value.code == 2


TINY_CONFIG = speech.TrainConfig(hidden=(8,), epochs=1, batch_size=20)


@pytest.mark.slow
@needs_fsdd
def test_the_smoke_of_real_speech_claims_nothing_and_runs(tmp_path):
    done = command("minikd.speech", "--profile", "smoke", "--data", FSDD, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("claims nothing") == len(speech.ROWS)
