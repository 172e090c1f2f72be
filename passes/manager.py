"""Runs pipelines: repeats fixpoint groups, verifies after every pass, names the pass that failed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..ir.diagnostics import Diagnostic, code
from ..ir.graph import Graph
from ..ir.model import Model
from .base import Change, Pass
from .context import Context
from .observers import Observer
from .pipeline_text import Fix, Step, format_pipeline, parse_pipeline

E_PASS = code(
    "E0404",
    "a pass failed",
    "A pass raised an unexpected exception. The model itself is fine; this is a defect of the pass. `--reproducer FOLDER` saves the "
    "model as it was before the pass; `--bisect-limit N` finds the single rewrite.",
)
E_PASS_RESULT = code(
    "E0405",
    "a pass left a graph that is not well formed",
    "The verifier rejected the graph after a pass that had been accepted before it. This is a defect of the pass; the notes say what "
    "the verifier found.",
)

E_CONTRADICTION = code(
    "E0410",
    "a type of the model contradicts what its operators compute",
    "A declared type of an inner value (value_info) is believed where inference cannot know better. After the passes inference knew "
    "more, and found another size. Either the file's declaration is false, or, if it declares nothing for that value, a pass is wrong: "
    "`--check-each-pass` tells which.",
)

Verify = Literal["none", "structure", "full"]


@dataclass(frozen=True)
class PassReport:
    """One run of one pass.

    Attributes:
        step: the pass.
        change: what it did.
        seconds: wall-clock time of the pass alone, without verification.
    """

    step: Pass
    change: Change
    seconds: float


class PassManager:
    """Runs passes in order.

    A pass is not run again while nothing changed since it last had nothing (more) to do.

    Args:
        passes: passes and fixpoint groups, or their text.
        observers: told about the start, every pass and failures, in order.
        verify: what is checked after every pass that changed something: ``structure`` (cheap; types are inferred again once, at the
            end), ``full`` (types are inferred again every time) or ``none``.
    """

    def __init__(self, passes: Sequence[Step] | str, observers: Iterable[Observer] = (), verify: Verify = "structure") -> None:
        self.passes: tuple[Step, ...] = tuple(parse_pipeline(passes) if isinstance(passes, str) else passes)
        self.observers = tuple(observers)
        self.verify: Verify = verify
        self._version = 0
        self._settled: dict[Pass, int] = {}
        self._reports: list[PassReport] = []

    def run(self, subject: Model | Graph, context: Context | None = None) -> list[PassReport]:
        """Run the pipeline on a model (or a bare graph), in place.

        Returns:
            One report for every pass that was run, in order.

        Raises:
            Diagnostic: a pass failed, or left a graph that the verifier rejects; the notes name the pass.
        """
        context = context if context is not None else Context()
        graph = subject.graph if isinstance(subject, Model) else subject
        self._version, self._settled, self._reports = 0, {}, []
        for observer in self.observers:
            observer.start(subject, context, self)
        self._run_steps(self.passes, graph, context)
        self._check_types(graph)
        for observer in self.observers:
            observer.finish(subject, context, self._reports)
        return self._reports

    def _run_steps(self, steps: Iterable[Step], graph: Graph, context: Context) -> None:
        for step in steps:
            if isinstance(step, Fix):
                for _ in range(step.max):
                    before = self._version
                    self._run_steps(step.passes, graph, context)
                    if self._version == before:
                        break
            elif self._settled.get(step) != self._version:
                self._run_pass(step, graph, context)

    def _run_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        for observer in self.observers:
            observer.before(step, graph, context)
        began = time.perf_counter()
        try:
            change = step.run(graph, context)
            seconds = time.perf_counter() - began
            if change.modified:
                self._version += 1
                context.forget_analyses()
                self._check(step, graph)
        except Exception as error:
            diagnostic = _as_diagnostic(step, error)
            for observer in self.observers:
                observer.failed(step, graph, context, diagnostic)
            raise diagnostic from (None if diagnostic is error else error)
        if not change.modified or step.idempotent:
            self._settled[step] = self._version
        report = PassReport(step, change, seconds)
        self._reports.append(report)
        for observer in self.observers:
            observer.after(step, graph, context, report)

    def _check(self, step: Pass, graph: Graph) -> None:
        if self.verify == "none":
            return
        from ..ir.verifier import verify

        try:
            verify(graph, types=self.verify == "full")
        except Diagnostic as error:
            raise Diagnostic(
                E_PASS_RESULT,
                f"after the pass {step.name} the graph is not well formed",
                error.where,
                "run with --reproducer to keep the model as it was before the pass",
                [f"{error.code}: {error.message}", *error.notes],
            ) from error

    def _check_types(self, graph: Graph) -> None:
        """Infer all types once more at the end: by then inference may know what it had to believe of the file before."""
        if self.verify != "structure" or not self._version:
            return
        from ..ir.verifier import verify

        try:
            verify(graph)
        except Diagnostic as error:
            raise Diagnostic(
                E_CONTRADICTION,
                error.message,
                error.where,
                "if the file declares this type (value_info), the declaration is false: remove it and optimise again",
                error.notes,
            ) from error


def _as_diagnostic(step: Pass, error: Exception) -> Diagnostic:
    if isinstance(error, Diagnostic):
        note = f"while running the pass {format_pipeline([step])}"
        if note not in error.notes:
            error.notes.append(note)
        return error
    return Diagnostic(
        E_PASS,
        f"the pass {step.name} failed: {type(error).__name__}: {error}",
        hint="run with --reproducer to keep the model as it was before the pass",
    )


def run_passes(subject: Model | Graph, pipeline: Sequence[Step] | str, context: Context | None = None) -> Change:
    """Run a pipeline and merge what its passes changed."""
    total = Change()
    for report in PassManager(pipeline).run(subject, context):
        total = total | report.change
    return total
