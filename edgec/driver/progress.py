"""Progress of long work on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
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


@contextmanager
def stepping(what: str) -> Iterator[Callable[[int, int, Any], None] | None]:
    """A bar for timings on a terminal; nothing elsewhere. It is drawn between them only, never while one runs.

    Gives what is called with the steps done, the steps in all and a word for the next one.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(what)

        def step(done: int, total: int, following: Any) -> None:
            bar.update(task, completed=done, total=total, description=f"{what}: {following}")
            bar.refresh()

        yield step
