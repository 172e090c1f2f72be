"""Progress of long work on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..passes.observers import Observer

if TYPE_CHECKING:
    from ..ir.graph import Graph
    from ..passes.base import Pass
    from ..passes.context import Context


class Progress(Observer):
    """Shows the running pass; silent when standard error is not a terminal."""

    def __init__(self, status: Any) -> None:
        self.status = status

    def before(self, step: Pass, graph: Graph, context: Context) -> None:
        if self.status is not None:
            self.status.update(f"{step.name} ({len(graph)} nodes)")


@contextmanager
def working(what: str) -> Iterator[Any]:
    """A spinner with a text while the block runs; gives None when standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield status
