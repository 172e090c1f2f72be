"""Keeping what native libraries print on the error stream away from the terminal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
_STDERR = 2


class Printed:
    """What was printed while the error stream was redirected."""

    def __init__(self) -> None:
        self.text = ""

    def lines(self, limit: int = 8) -> list[str]:
        """The last lines."""
        return [line for line in self.text.splitlines() if line.strip()][-limit:]


@contextmanager
def quiet_stderr(printed: Printed | None = None) -> Iterator[None]:
    """Collect what is written to the process's error stream inside the block.

    The stream is one for the whole process: threads enter one at a time, and what other code writes meanwhile is collected too.
    """
    with _LOCK, tempfile.TemporaryFile() as sink:
        try:
            saved = os.dup(_STDERR)
        except OSError:
            yield  # there is no error stream
            return
        os.dup2(sink.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            sink.seek(0)
            if printed is not None:
                printed.text = sink.read().decode(errors="replace")
