"""Watching a pipeline: times, printing, reproducers, bisection, extra checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .base import Pass
from .context import Context

if TYPE_CHECKING:
    from ..ir.diagnostics import Diagnostic
    from ..ir.graph import Graph
    from ..ir.model import Model
    from .manager import PassManager, PassReport


class Observer:
    """Told about a pipeline's progress. Every method does nothing by default."""

    def start(self, subject: Model | Graph, context: Context, manager: PassManager) -> None:
        """The pipeline begins."""

    def before(self, step: Pass, graph: Graph, context: Context) -> None:
        """A pass is about to run."""

    def after(self, step: Pass, graph: Graph, context: Context, report: PassReport) -> None:
        """A pass has run and its result has been verified."""

    def failed(self, step: Pass, graph: Graph, context: Context, error: Diagnostic) -> None:
        """A pass failed; notes may be added to the diagnostic before it is raised."""

    def finish(self, subject: Model | Graph, context: Context, reports: list[PassReport]) -> None:
        """The pipeline ended well."""


class Timing(Observer):
    """Adds up the time, the runs and the events of every pass.

    Attributes:
        seconds: wall-clock seconds by pass name, in order of first run.
        runs: how often each pass ran.
        events: how often each event of a pass happened.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, int] = {}
        self.events: dict[str, dict[str, int]] = {}

    def after(self, step: Pass, graph: Graph, context: Context, report: PassReport) -> None:
        self.seconds[step.name] = self.seconds.get(step.name, 0.0) + report.seconds
        self.runs[step.name] = self.runs.get(step.name, 0) + 1
        events = self.events.setdefault(step.name, {})
        for event, times in report.change.counts.items():
            events[event] = events.get(event, 0) + times

    def table(self) -> str:
        """The times as text, the slowest pass first."""
        rows = sorted(self.seconds, key=lambda name: -self.seconds[name])
        lines = [f"{'pass':32} {'runs':>5} {'ms':>9}  events"]
        for name in rows:
            events = ", ".join(f"{event} {times}" for event, times in self.events[name].items())
            lines.append(f"{name:32} {self.runs[name]:5} {self.seconds[name] * 1e3:9.2f}  {events}".rstrip())
        return "\n".join(lines)


class PrintAfter(Observer):
    """Prints the textual form of the graph after the named passes (all passes that changed something by default)."""

    def __init__(self, names: Iterable[str] = (), stream: TextIO | None = None) -> None:
        self.names = tuple(names)
        self.stream = stream

    def after(self, step: Pass, graph: Graph, context: Context, report: PassReport) -> None:
        if step.name not in self.names and (self.names or not report.change.modified):
            return
        from ..ir.text import print_graph

        stream = self.stream if self.stream is not None else sys.stderr
        print(f"# after {step}\n{print_graph(graph, elide=True)}", file=stream)


class Reproducer(Observer):
    """Saves the model as it was before a pass that fails, and the pipeline text that fails on it.

    The copy that this needs before every pass shares the constants, so it costs time but little memory.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._model: Model | None = None
        self._copy: Model | None = None

    def start(self, subject: Model | Graph, context: Context, manager: PassManager) -> None:
        from ..ir.model import Model

        self._model = subject if isinstance(subject, Model) else Model(subject)

    def before(self, step: Pass, graph: Graph, context: Context) -> None:
        if self._model is not None:
            self._copy = self._model.copy()

    def failed(self, step: Pass, graph: Graph, context: Context, error: Diagnostic) -> None:
        if self._copy is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        model_path = self.folder / f"before-{step.name}.onnx"
        self._copy.save(model_path)
        pipeline = self.folder / f"before-{step.name}.pipeline"
        pipeline.write_text(f"{step}\n", encoding="utf-8")
        error.notes.append(f'reproduce with: edgec optimize {model_path} --passes "$(cat {pipeline})"')


class BisectLimit(Observer):
    """Permits only the first ``limit`` rewrites, counted across passes: halve it until the culprit is the last one permitted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def start(self, subject: Model | Graph, context: Context, manager: PassManager) -> None:
        context.rewrite_limit = self.limit


class CheckEachPass(Observer):
    """Calls ``check(graph, step)`` after every pass that changed something; an exception from it fails the pipeline."""

    def __init__(self, check: Callable[[Graph, Pass], None]) -> None:
        self.check = check

    def after(self, step: Pass, graph: Graph, context: Context, report: PassReport) -> None:
        if report.change.modified:
            self.check(graph, step)
