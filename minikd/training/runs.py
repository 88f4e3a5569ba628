"""Run folders: what a run leaves behind, and what a later one finds again.

    OUT/teachers/<key>.safetensors            teachers, one per configuration, for any run that wants the same
    OUT/<name>/config.json                    what was asked for
    OUT/<name>/metrics.jsonl                  one line per epoch: seed, network, and the record of `train`
    OUT/<name>/seed0/student-alone.safetensors, …    the weights (and, while training, a checkpoint beside them)
    OUT/<name>/results.json                   errors, parameters, times
    OUT/<name>/*.png                          the figures

Every file is replaced as a whole, so a run killed at any moment can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tqdm import tqdm

from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.inputs import Inputs
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import CPU, Device
from minikd.system.files import write_atomically
from minikd.system.pace import Pace
from minikd.training import checkpoint
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

RESULTS = "results.json"


def key(record: Any) -> str:
    """Return a short name for anything in plain JSON types. Equal records have equal names."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def open_run(out: Path, name: str, resume: bool) -> Path:
    """Return the folder of a run, and make it if it does not exist.

    Args:
        out: the folder of run folders.
        name: of the run.
        resume: whether to take the latest folder of this name. Otherwise a new one is made: name, name-2, …

    Raises:
        ValueError: if `out` cannot hold folders.
    """
    pattern = re.compile(rf"{re.escape(name)}(?:-(\d+))?")  # T = 1e+06 has a + in its name
    try:
        out.mkdir(parents=True, exist_ok=True)
        while True:
            numbers = [int(found[1] or 1) for path in out.iterdir() if (found := pattern.fullmatch(path.name))]
            number = max(numbers, default=0) + (0 if resume and numbers else 1)
            folder = out / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(exist_ok=resume)
            except FileExistsError:  # another run of these settings has just taken this name
                if resume:  # or a file has it
                    raise
            else:
                return folder
    except OSError as error:
        raise ValueError(
            f"--out must be a folder that can be written, got {out} ({error.strerror}): use another"
        ) from None


def write_json(path: Path, record: Any) -> None:
    """Write a record as indented JSON, the whole file or nothing."""
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


class Metrics:
    """The lines of metrics.jsonl. The file is written anew each time, so a resumed run repeats no line."""

    def __init__(self, path: Path) -> None:
        self.path, self._pace = path, Pace()
        self.histories: dict[tuple[int, str], list[dict[str, Any]]] = {}

    def set(self, seed: int, network: str, history: list[dict[str, Any]], finished: bool = True) -> None:
        """Keep the history of one network so far in place of what was there before.

        Args:
            seed: of the network.
            network: its name.
            history: of the network.
            finished: whether it is complete, and must be written. Otherwise it is written as often as time allows.
        """
        self.histories[seed, network] = history
        if finished:
            self._write()
        else:
            self._pace.do(self._write)

    def _write(self) -> None:
        lines = (
            json.dumps({"seed": seed, "network": network, **record}) + "\n"
            for (seed, network), history in self.histories.items()
            for record in history
        )
        write_atomically(self.path, "".join(lines).encode())


def obtain(
    path: Path,
    config: TrainConfig,
    dataset: Dataset | Frames,
    evaluation: Dataset | Frames,
    *,
    soft_targets: SoftTargets | None = None,
    device: Device = CPU,
    resume: bool = False,
    title: str = "",
    quiet: bool = False,
    on_epoch: Callable[[Network], None] | None = None,
    inputs: Inputs | None = None,
    labels: NDArray[Any] | None = None,
) -> tuple[Network, bool]:
    """Return the trained network at a path, or train one and save it there.

    Several processes may want the same network at once. Each then trains it, with the same bits, and none disturbs
    another. While a network trains, a checkpoint stands beside the path. What is found is checked: it must be of this
    configuration, data and teacher.

    Args:
        path: the file.
        config: what to train.
        dataset: the transfer set, or the training set.
        evaluation: on which errors are counted after each epoch.
        soft_targets: the teacher's logits for the data set; needed where alpha > 0.
        device: where to train.
        resume: whether to resume from a checkpoint.
        title: of the progress bar.
        quiet: whether to show no progress.
        on_epoch: called with the network after each epoch.
        inputs: what the network reads, for its file. Of images it is known.
        labels: (K,) what its classes are called, for its file.

    Returns:
        The network, and whether it was there already.

    Raises:
        CheckpointError: if a file is damaged or belongs to something else.
        Exception: as `train`.
    """
    partial = path.with_name(f"{path.stem}.checkpoint.safetensors")
    if path.exists():
        partial.unlink(missing_ok=True)  # of a run killed between the two
        return load_network(path, config), True
    path.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(desc=title, unit="step", leave=False, disable=True if quiet else None) as bar:  # None: on a terminal only

        def update(done: int, steps: int) -> None:
            bar.total = steps
            bar.update(done - bar.n)

        network = train(
            config,
            dataset,
            soft_targets=soft_targets,
            evaluation=evaluation,
            device=device,
            checkpoint_path=partial,
            resume=resume,
            on_step=update,
            on_epoch=on_epoch,
        )
    save_network(path, network, config, inputs or _inputs_of(dataset), labels)
    partial.unlink(missing_ok=True)
    if not quiet and not sys.stderr.isatty():  # where no bar has been shown
        last = network.history[-1]
        seconds = sum(record["seconds"] for record in network.history)
        print(f"{title}: {last['errors']} errors, {seconds:.0f} s", file=sys.stderr)
    return network, False


def network_path(folder: Path, seed: int, name: str) -> Path:
    """Return where a run folder keeps a network of a seed."""
    return folder / f"seed{seed}" / f"{name.replace(' ', '-')}.safetensors"


def _inputs_of(dataset: Dataset | Frames) -> Inputs | None:
    """Return what a network reads that learnt from a data set, or None where its features may be standardised."""
    return Inputs(dataset.shape) if isinstance(dataset, Dataset) else None


def save_network(
    path: str | os.PathLike[str],
    network: Network,
    config: TrainConfig,
    inputs: Inputs | None = None,
    labels: NDArray[Any] | None = None,
) -> None:
    """Write a network as a safetensors file: its weights W1 (D, H), b1 (H,), W2, …, and a record of its training.

    Args:
        path: the file. Missing folders are made.
        network: a single network, not a population.
        config: the configuration that it was trained with.
        inputs: what the network reads, such as Inputs((28, 28)). Without them `load_student` and the commands refuse
            the file, because nobody can tell pixels from features.
        labels: (K,) what its classes are called, if not 0 to K − 1.

    Raises:
        ValueError: if it is a population, or the inputs do not fit it.
        CheckpointError: if the file cannot be written.
    """
    network.check_single("a file holds")
    arrays, record = network.arrays(), {"config": config.record(), "sizes": network.sizes, "history": network.history}
    if inputs is not None:
        if inputs.size != network.sizes[0]:
            found = f"inputs of shape {inputs.shape} are {inputs.size} numbers"
            fix = "give the inputs that it was trained with"
            raise ValueError(f"{found}, but the network reads {network.sizes[0]}: {fix}")
        arrays, record = arrays | inputs.arrays(), record | inputs.record()
    if labels is not None:
        record |= label_record(labels)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, arrays, record)


def label_record(labels: NDArray[Any]) -> dict[str, Any]:
    """Return what a file's record says of labels (K,), in plain JSON types."""
    return {"labels": labels.tolist(), "label_dtype": labels.dtype.str}


def load_network(path: str | os.PathLike[str], config: TrainConfig | None = None) -> Network:
    """Return a network that `save_network` wrote.

    Args:
        path: the file.
        config: what the network must have been trained with, or None for anything.

    Raises:
        CheckpointError: if the file is missing, damaged, of another kind or of another configuration.
    """
    arrays, record = checkpoint.load(path)
    if config is not None and record.get("config") != config.record():
        raise checkpoint.CheckpointError(
            path, "it was trained with another configuration", "remove it, or use another --out"
        )
    try:
        network = Network.from_arrays(arrays, record["history"])
        right = list(network.sizes) == record["sizes"] and network.flat.dtype == record["config"]["dtype"]
        right = right and len(network.history) == record["config"]["epochs"]
    except (LookupError, TypeError, ValueError):
        right = False
    if not right:
        raise checkpoint.CheckpointError(
            path, "it does not hold the network that its record describes", "remove it, or train again"
        )
    return network
