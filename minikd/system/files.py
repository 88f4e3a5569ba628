"""Files that are written as a whole or not at all, and their fingerprints."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
import tempfile
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file such that, whatever happens, the path holds the old contents or the new, never a part.

    The bytes go to `.{name}.{process id}.{8 hex digits}.tmp` in the same folder, are forced to the disk, and take over
    the name in one step. A symbolic link stays a link. On failure the temporary file is removed. The next write to the
    same path, or the next `load` from it, removes what a killed process left behind. A live writer holds a lock on its
    temporary file, and the kernel drops the lock when the writer dies. So leftovers are recognised even across
    containers that share a folder.

    Args:
        path: the file.
        data: its new contents.

    Raises:
        OSError: if the file cannot be written, or the path names something that is not a regular file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "a folder, device or pipe has this name", str(target))
    remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # a file system without locks; nobody removes leftovers there
                    fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink == 0:  # taken for a leftover before the lock stood: begin again
                    write_atomically(path, data)
                    return
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # Windows does not rename an open file; elsewhere the lock is held until the name is taken
            os.replace(temporary, target)
    except BaseException:  # KeyboardInterrupt too
        temporary.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":
        _force_to_disk(target.parent)


def _force_to_disk(folder: Path) -> None:
    """Force a folder's entries to the disk. Some file systems cannot do this; the files are whole all the same."""
    with contextlib.suppress(OSError):
        entries = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check before long work that `write_atomically` will be able to write there, and leave nothing behind.

    Args:
        path: the file.

    Raises:
        ValueError: if the folder is missing or cannot be written, or the path is not a file. It says so in one line.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ValueError(f"{os.fspath(path)!r} must be a file, and a folder, device or pipe has this name: use another")
    if not target.parent.is_dir():
        raise ValueError(f"the folder of {os.fspath(path)!r} is not there: make it first")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        wrong = f"the folder of {os.fspath(path)!r} cannot be written ({error.strerror})"
        raise ValueError(f"{wrong}: change its permissions, or choose another") from error


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files that killed writers of this target left. Those of live writers stay."""
    # Process id and token stand last, so a temporary file of `a.1` is never taken for one of `a`.
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9]+\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError):
        for leftover in [entry for entry in target.parent.iterdir() if pattern.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                if sys.platform == "win32":
                    leftover.unlink()  # refused by Windows while a writer has it open
                else:
                    with open(leftover, "r+b") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while a writer lives
                        leftover.unlink()


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
