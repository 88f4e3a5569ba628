"""What the commands that train share: paths as options, and one line for whatever stops their work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minikd.engines.gpu import DeviceError, gpu_errors
from minikd.system.cli import Parser, reason
from minikd.training.loop import TrainingDiverged


def place(text: str) -> Path:
    """Return a path. An empty one, which an unset shell variable leaves, would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got an empty one: is a variable of your shell unset?")
    return Path(text)


@contextmanager
def ending_in_one_line(parser: Parser) -> Iterator[None]:
    """End the command with one line for whatever stops its work."""
    try:
        with gpu_errors():
            yield
    except (DeviceError, ValueError) as error:  # bad data and bad checkpoints are ValueErrors
        parser.fail(str(error))
    except (FileExistsError, NotADirectoryError) as error:
        parser.fail(f"{reason(error)}: move what is in the way, and repeat the command with --resume")
    except OSError as error:
        parser.fail(f"{reason(error)}; make room or fix its permissions, and repeat the command with --resume")
    except MemoryError as error:
        parser.fail(f"the networks do not fit into memory ({error}): use smaller layers or batches")
    except TrainingDiverged as error:
        parser.fail(str(error), code=1)
    except KeyboardInterrupt:
        parser.fail("stopped; the same command with --resume continues from here", code=130)
