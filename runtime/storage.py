"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..ir.diagnostics import Diagnostic
from ..ir.serial.codes import E_WRITE

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its place when the block ends well.

    Failures and interrupts remove the temporary folder and leave ``target`` as it was. A killed process
    leaves a temporary folder behind (never a partial target), which the next write beside it removes.

    Raises:
        Diagnostic: E0309 when the operating system refuses a write.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        stage = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    except OSError as error:
        raise _write_error(target, error) from error
    handle = _lock(stage)
    try:
        yield stage
        for path in sorted(stage.rglob("*")):
            if path.is_file():
                _sync(path)
        _sync(stage)
        stage.chmod(0o777 & ~_umask())
        _put_in_place(stage, target)
        _sync(target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def remove_leftovers(target: Path) -> None:
    """Remove the temporary folders that killed writers of ``target`` left; those of living writers are
    locked.
    """
    for stale in sorted(target.parent.glob(_prefix(target) + "*")):
        handle = _lock(stale)
        if handle is not None:
            shutil.rmtree(stale, ignore_errors=True)
            os.close(handle)


def _prefix(target: Path) -> str:
    return f".{target.name}.edgec-"


def _lock(folder: Path) -> int | None:
    """An exclusive lock on a folder that ends with the process; None when somebody holds it or there are no
    locks.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _put_in_place(stage: Path, target: Path) -> None:
    if not target.exists():
        os.rename(stage, target)
    elif not _exchange(stage, target):
        backup = stage.with_name(stage.name + "-old")
        os.rename(target, backup)
        try:
            os.rename(stage, target)
        except OSError:
            os.rename(backup, target)
            raise
        shutil.rmtree(backup, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step, where the kernel can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE) == 0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_error(target: Path, error: OSError) -> Diagnostic:
    reason = error.strerror or str(error)
    return Diagnostic(E_WRITE, f"cannot write: {reason}", str(error.filename or target), "free some space or choose another place")
