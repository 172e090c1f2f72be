"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..diagnostics import Diagnostic
from .codes import E_WRITE


@contextmanager
def writing(*paths: Path) -> Iterator[list[BinaryIO]]:
    """Open temporary files beside ``paths``; when the block succeeds they are renamed in the given order, else removed.

    When several files belong together, an existing last one is removed before the first is renamed: a kill in between leaves it absent,
    never next to parts that do not belong to it. A killed process leaves its temporary files, which the next writer of the path removes.

    Raises:
        Diagnostic: `E_WRITE` for any failure of the file system.
    """
    opened: list[BinaryIO] = []
    temporary: list[str] = []
    last = list(paths)[-1]
    try:
        try:
            for path in paths:
                _remove_leftovers(path)
                handle, name = _temporary(path)
                temporary.append(name)
                opened.append(os.fdopen(handle, "wb"))
            yield opened
            mask = os.umask(0)
            os.umask(mask)
            for file in opened:
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~mask)
                os.fsync(file.fileno())
            if len(paths) > 1 and last.exists():
                last.unlink()
            for name, path in zip(list(temporary), paths, strict=True):
                os.replace(name, path)
                temporary.remove(name)
            for file in opened:
                file.close()
        except OSError as error:
            message = f"cannot write '{last}': {error.strerror or error}"
            raise Diagnostic(E_WRITE, message, f"file '{last}'", "check the folder, its permissions and free space") from error
    finally:
        for name in temporary:
            Path(name).unlink(missing_ok=True)
        for file in opened:
            if not file.closed:
                _close_quietly(file)


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, locked as long as it is open."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent or Path("."))
        _lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # another writer took it for a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` left; those of living writers are locked."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    for entry in sorted(e.path for e in os.scandir(path.parent or Path(".")) if ours.fullmatch(e.name)):
        try:
            handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _lock(handle):
                os.unlink(entry)
        except OSError:
            continue
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file for its writer; False when somebody else holds it or the system has no such locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _close_quietly(file: BinaryIO) -> None:
    """Close a file whose buffered bytes may have nowhere to go; the failure that led here is already on its way."""
    try:
        file.close()
    except OSError:
        file.raw.close() if hasattr(file, "raw") else None  # type: ignore[attr-defined]
