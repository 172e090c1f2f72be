"""Checking that passes keep the meaning of a model: outputs after every pass, and the single rewrite to
blame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ir.custom import is_custom, libraries_of
from ..ir.diagnostics import Diagnostic, Exit, code
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node
from ..ir.model import Model
from ..lowering.ort.engine import Engine
from ..lowering.signature import Signature
from ..passes.base import Pass
from ..passes.context import Context
from ..passes.manager import PassManager, PassReport
from ..passes.observers import BisectLimit, CheckEachPass, Observer
from .compare import Difference, comparable, difference
from .judge import Judge
from .mixed import load_engine
from .noise import HOPELESS, allowance, chaotic, noise_floor
from .pairing import nothing_to_compare
from .subject import Subject
from .synthesize import synthesize_feeds

E_MEANING = code(
    "E0621",
    "a pass changed what the model computes",
    "`--check-each-pass` ran the model before and after every pass on the same inputs and found other outputs beyond rounding. The "
    "named rewrite is the first that, applied together with those before it, changes them. Please report it with the model.",
    Exit.GATE_FAILED,
)


class OutputCheck:
    """Evaluates a model's outputs without runtime optimisations and compares them with the source model's.

    Attributes:
        feeds: the inputs used.
        outputs: by output, the figures of the pass after which the error was the largest in units of its tolerance.
    """

    def __init__(self, source: Model, feeds: Sequence[Mapping[str, Any]] | None = None, *, scale: float = 1.0, seed: int = 0) -> None:
        """Evaluate the source model.

        Args:
            source: the model whose meaning is to be kept; it is only read.
            feeds: sample inputs; made up from ``seed`` when there are none.
            scale: factor on every tolerance.

        Raises:
            Diagnostic: the feeds do not fit, the source model does not run, or it gives nothing finite to compare.
        """
        self._model = source
        self._names = list(source.graph.output_names)
        self._judge = Judge(frozenset(), scale)
        if feeds is None:
            with Subject(source) as subject:
                feeds = synthesize_feeds(source, seed, attempt=subject.run)
        signature = Signature.of(source)
        self.feeds = [signature.check(feed, f"sample {i}") for i, feed in enumerate(feeds)]
        self._seed, self._scale = seed, scale
        self._expected = _evaluate(source, self.feeds)
        if not any(comparable(value) for expected in self._expected for value in expected.values()):
            raise nothing_to_compare(source.path.name if source.path is not None else "model")
        self._floors: dict[int, dict[str, float]] = {}
        self.outputs: dict[str, OutputFigures] = {}
        again = _evaluate(source, self.feeds)
        self._random: set[str] = set()
        for first, second in zip(self._expected, again, strict=True):
            for name in self._names:
                change = difference(first[name], second[name])
                if change.relative > self._plain(change, first[name]):
                    self._random.add(name)

    def problem(self, graph: Graph) -> str | None:
        """What is wrong with the outputs of a rewritten graph, None when they are equal up to rounding."""
        try:
            found = _evaluate(replace(self._model, graph=graph), self.feeds)
        except Diagnostic as error:
            return f"the model no longer runs: {error.message}"
        for index, (expected, actual) in enumerate(zip(self._expected, found, strict=True)):
            for name, result in zip(self._names, actual.values(), strict=True):
                change = difference(expected[name], result)
                if change.kind == "shape":
                    return f"output '{name}' of sample {index} has another shape"
                if name in self._random:
                    continue
                figures = self._judged(index, name, change, expected[name])
                if change.relative > figures.tolerance:
                    what = "relative error" if change.kind == "float" else "share of unequal elements"
                    text = f"output '{name}' of sample {index}: {what} {change.relative:.3g}, at most {figures.tolerance:.3g} is rounding"
                    floor = figures.noise_floor
                    if floor is None:
                        return text
                    other = ": try with --data, these inputs are too ill-conditioned to tell" if chaotic(floor) else ""
                    return f"{text} (the noise floor is {floor:.3g}{other})"
                if name not in self.outputs or self.outputs[name].severity <= figures.severity:
                    self.outputs[name] = figures
        return None

    def _judged(self, index: int, name: str, change: Difference, value: Any) -> OutputFigures:
        """An error with its tolerance; the noise floor of the sample is measured when the plain one does not do."""
        plain = self._plain(change, value)
        if change.relative <= plain or change.kind != "float" or change.relative > HOPELESS:
            return OutputFigures(change.relative, plain)
        if index not in self._floors:
            with Subject(self._model) as subject:
                self._floors[index] = noise_floor(subject, self.feeds[index], seed=self._seed)
        floor = self._floors[index].get(name)
        return OutputFigures(change.relative, plain if floor is None else max(plain, self._scale * allowance(floor)), floor)

    def _plain(self, change: Difference, value: Any) -> float:
        dtype = DType.from_numpy(value.dtype) if hasattr(value, "dtype") else None
        return self._judge.unknown(dtype, None, change)

    def to_json(self) -> dict[str, Any]:
        """The samples and, by output, the worst error that any pass has caused so far."""
        return {
            "samples": len(self.feeds),
            "outputs": [
                {"name": name, "worst": figures.worst, "tolerance": figures.tolerance, "noise_floor": figures.noise_floor}
                for name, figures in self.outputs.items()
            ],
        }

    def __call__(self, graph: Graph, step: Pass) -> None:
        """Raise `Diagnostic` E0621 when the graph's outputs differ; for the observer `CheckEachPass`."""
        reason = self.problem(graph)
        if reason is not None:
            raise Diagnostic(E_MEANING, f"pass '{step.name}' changed the model: {reason}")


@dataclass(frozen=True)
class OutputFigures:
    """An output's error after a pass.

    Attributes:
        worst: relative error against the source model.
        tolerance: up to which it counts as rounding.
        noise_floor: how far rounding alone moves the output, None where the plain tolerance did.
    """

    worst: float
    tolerance: float
    noise_floor: float | None = None

    @property
    def severity(self) -> float:
        """The error in units of the tolerance."""
        return self.worst / self.tolerance if self.tolerance else 0.0


@dataclass(frozen=True)
class Checked:
    """What `run_checked` did: the report of every pass, and the errors that it saw."""

    reports: list[PassReport]
    check: OutputCheck


class _Snapshot(Observer):
    """Keeps a copy of the model as it was before the current pass."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.copy = model.copy()

    def before(self, step: Pass, graph: Graph, context: Context) -> None:
        self.copy = self.model.copy()


def run_checked(
    model: Model,
    passes: Any,
    *,
    feeds: Sequence[Mapping[str, Any]] | None = None,
    context: Context | None = None,
    observers: Iterable[Observer] = (),
    scale: float = 1.0,
    seed: int = 0,
) -> Checked:
    """Run a pipeline in place and check the outputs after every pass; a failure is traced to one rewrite.

    Args:
        model: the model to rewrite.
        passes: pipeline text or passes, as `PassManager` takes them.
        feeds: sample inputs; made up when there are none.
        context: options of the passes.
        observers: further observers.

    Raises:
        Diagnostic: E0621 naming the pass, the rewrite and the node; otherwise what the pass manager raises.
    """
    context = context if context is not None else Context()
    check = OutputCheck(model.copy(), feeds, scale=scale, seed=seed)
    snapshot = _Snapshot(model)
    guilty: list[Pass] = []

    def judge(graph: Graph, step: Pass) -> None:
        guilty[:] = [step]
        check(graph, step)

    manager = PassManager(passes, (*observers, snapshot, CheckEachPass(judge)))
    try:
        return Checked(manager.run(model, context), check)
    except Diagnostic as error:
        if error.code == E_MEANING:
            _blame(error, guilty[0], snapshot.copy, context, check)
        raise


def _blame(error: Diagnostic, step: Pass, before: Model, context: Context, check: OutputCheck) -> None:
    """Find the first rewrite of a pass after which the outputs differ, and say so in the diagnostic."""

    def attempt(limit: int | None) -> tuple[Model, Context]:
        trial = before.copy()
        options = replace(context, rewrites=0, rewrite_limit=limit, last_rewrite="", notes=[], declines=None, _analyses={})
        observers = () if limit is None else (BisectLimit(limit),)
        PassManager([step], observers).run(trial, options)
        return trial, options

    _, whole = attempt(None)
    found = first_bad(whole.rewrites, lambda n: check.problem(attempt(n)[0].graph) is not None)
    if found is None:
        error.notes.append(f"the pass as a whole is to blame: none of its {whole.rewrites} counted rewrites alone decides")
        return
    (good, _), (bad, options) = attempt(found - 1), attempt(found)
    nodes = _new_nodes(good.graph, bad.graph)
    error.message += f"; the culprit is rewrite {found} of {whole.rewrites}, '{options.last_rewrite}'"
    if nodes:
        error.where = nodes[0].where
        sources = list(dict.fromkeys(s for node in nodes for s in node.sources))
        if sources:
            error.notes.append("made from the source nodes " + ", ".join(f"'{s}'" for s in sources[:12]))
    error.notes.append(f"reproduce with: --passes '{step}' --bisect-limit {found} (right with {found - 1})")


def first_bad(count: int, bad: Callable[[int], bool]) -> int | None:
    """The least n in 1..count with ``bad(n)``, by bisection; None when 0 is bad already or nothing is.

    >>> first_bad(100, lambda n: n >= 37)
    37
    """
    if count == 0 or bad(0) or not bad(count):
        return None
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bad(middle) else (middle, high)
    return high


def _new_nodes(before: Graph, after: Graph) -> list[Node]:
    """Nodes of the second graph that the first does not have, else those that lost or changed operands."""
    known: dict[str, int] = {}
    for node in before.walk():
        known[_identity(node)] = known.get(_identity(node), 0) + 1
    found = []
    for node in after.walk():
        key = _identity(node)
        if known.get(key, 0) > 0:
            known[key] -= 1
        else:
            found.append(node)
    return found


def _identity(node: Node) -> str:
    operands = ",".join("" if v is None else f"{v.name}:{v.type}" for v in node.inputs)
    return f"{node.op!r}({operands})->{','.join(v.name for v in node.outputs)}"


def _evaluate(model: Model, feeds: Sequence[Mapping[str, Any]], level: str = "disable") -> list[dict[str, Any]]:
    """The outputs for several feeds, through the writer and the runtime."""
    with tempfile.TemporaryDirectory(prefix="edgec-check-") as folder:
        path = Path(folder) / "model.onnx"
        model.save(path, external_data=True)
        libraries = libraries_of(model)
        if any(is_custom(node.op) for node in model.graph.walk()):
            from onnx import load

            proto = load(str(path), load_external_data=False)
            engine = load_engine(proto, level=level, libraries=libraries, data_folder=path.parent)
        else:
            engine = Engine(path, level=level, libraries=libraries)
        return [engine.run(feed) for feed in feeds]
