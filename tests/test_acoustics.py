"""The rows of speech: what a job of speech gives, what is chosen where, and what the command says."""

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
from minikd.paper.lab.scoreboard import Name
from minikd.paper.rows import ROWS, speech
from minikd.paper.tasks import speech as acoustics
from minikd.paper.tasks.networks import Data, training
from minikd.speech import recogniser, utterances
from minikd.speech.recordings import PARTS
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


def test_what_is_judged_adds_up_and_the_penalty_is_the_development_sets(done):
    result = done(speech.member(TINY, 0))
    spoken = acoustics.Speech(done(speech.corpus(TINY)))
    sizes = (26 * 40, *TINY.hidden, spoken.model.states)
    network = Network(sizes, result.arrays["flat"])
    for part in ("development", "test", "speaker"):
        frames, right = result.record["frames"][part]
        z = logits(network, spoken.examples(part))
        assert right == np.count_nonzero(z.argmax(-1) == spoken.result.arrays[f"{part}.labels"])
        assert (frames, right) == (result.arrays[f"{part}.frames"].sum(), result.arrays[f"{part}.right"].sum())
        assert result.arrays[f"{part}.words"].sum() == sum(map(len, spoken.corpus(part).digits))
    tried = result.record["development"]
    assert tried[f"{result.record['penalty']:g}"] == min(tried.values()) == result.arrays["development.errors"].sum()


@pytest.mark.slow
def test_what_is_judged_is_counted_by_recording_over_all_passes(done, tmp_path_factory):
    """Every count is made again here, utterance by utterance, from the utterances themselves."""
    plan = replace(TINY, first=0, passes={**dict.fromkeys(PARTS, 1), "test": 2})
    spoken, recordings = acoustics.Speech(done(speech.corpus(plan))), acoustics_recordings(tmp_path_factory)
    drawn = utterances.draw(recordings, "test", passes=2, snrs=speech.SNRS, seed=PARTS.index("test"))
    corpus, labels = spoken.corpus("test"), spoken.result.arrays["test.labels"]
    assert [u.digits for u in drawn] == corpus.digits
    rng = np.random.default_rng(0)
    z = {part: rng.normal(size=(len(spoken.examples(part)), spoken.model.states)) for part in PARTS[1:]}
    for part in PARTS[1:]:
        z[part][np.arange(len(z[part])), spoken.result.arrays[f"{part}.labels"]] += 3
    record, arrays = spoken.judge(z.__getitem__, words=True)
    score = recogniser.scores(z["test"], spoken.log_prior)
    heard = recogniser.recognise(score, corpus, spoken.model, record["penalty"])
    counts = {n: [0, 0, 0, 0] for n in recordings.part("test").tolist()}  # right, frames, errors, words
    for u, own in enumerate(drawn):
        begin, end = corpus.bounds[u : u + 2]
        middles = 100 + 80 * np.arange(end - begin)  # in samples
        away = [np.maximum(first - middles, middles - last) for first, last in own.spans]
        for t, word in enumerate(np.argmin(away, axis=0)):
            counts[own.recordings[word]][0] += z["test"][begin + t].argmax() == labels[begin + t]
            counts[own.recordings[word]][1] += 1
        for n, wrong in zip(own.recordings, recogniser.word_errors([own.digits], [heard[u]]), strict=True):
            counts[n][2] += wrong
            counts[n][3] += 1
    expected = np.array([counts[n] for n in sorted(counts)]).T
    assert (expected[3] == 2).all()
    assert expected[2].sum() > 0
    assert np.array_equal(arrays["test.words"], expected[3])
    assert np.array_equal(arrays["test.errors"], expected[2])
    for name, exact in (("right", expected[0]), ("frames", expected[1])):
        assert arrays[f"test.{name}"].sum() == exact.sum()
        assert np.abs(arrays[f"test.{name}"] - exact).max() <= 4  # a frame in the middle of a pause goes either way


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
    assert np.array_equal(result.arrays["stopped.test.right"], result.arrays["test.right"])
    assert "stopped" not in done(speech.few(TINY, speech.SOFT, 0.3, 0)).record


def test_the_epoch_that_is_stopped_at_is_counted_by_recording_too(done):
    result = done(speech.few(replace(TINY, few={0.3: (1, 6)}, batch_size=8), speech.HARD, 0.3, 0))
    for record, name in ((result.record, "test.right"), (result.record["stopped"], "stopped.test.right")):
        assert result.arrays[name].sum() == record["frames"]["test"][1]
    assert result.record["stopped"]["epoch"] < 6
    assert not np.array_equal(result.arrays["stopped.test.right"], result.arrays["test.right"])


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
