"""Comparing two models layer by layer: which layer computes something else, and does it matter at the
outputs?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, did_you_mean
from ..ir.dtypes import DType
from ..ir.model import Model
from .bundle import Bundle
from .compare import Difference, Moments, difference, drift, is_float, pooled
from .dataset import Sample, iterate_dataset
from .judge import SUSPICIOUS, Judge, conditioning, figures, spread, worst_of
from .layers import Layer, build_layers, coarse_types, compatible, counterparts
from .report import ErrorFigures, LayerReport, OutputReport, Report
from .subject import E_COMPARE, Subject
from .tensors import Part, TensorFacts, facts_of, observe

Source = str | Path | Model | Bundle
Samples = Callable[[], Iterator[Sample]]
DRIFT_LIMIT = 0.02  # of a standard deviation, respectively of the deviation itself


def verify(
    a: Source,
    b: Source,
    data: str | Path | Sequence[Sample] | Sequence[Mapping[str, Any]] | None = None,
    *,
    layers: bool = True,
    scale: float = 1.0,
    limit: int | None = None,
    budget: int = 256 << 20,
    seed: int = 0,
    custom_op_libraries: Sequence[str | Path] = (),
) -> Report:
    """Run two models on the same data and compare their outputs and, by debug handle, every tensor both
    compute.

    Args:
        a: the reference: a model file, a model, or a bundle.
        b: what is compared with it.
        data: a data set's path, samples, or feeds; None makes up plausible inputs from ``seed``.
        layers: whether intermediate tensors are compared too.
        scale: factor on every tolerance.
        limit: the most samples to use.
        budget: bytes of intermediate tensors of one model held at a time (about; single tensors may be
            larger).
        seed: for made-up inputs.
        custom_op_libraries: shared libraries with kernels for operators that the runtime does not know.

    Raises:
        Diagnostic: E0622 when the signatures do not match, E0601–E0604 for bad data, and what running a model
            raises.
    """
    with Subject(a, custom_op_libraries) as first, Subject(b, custom_op_libraries) as second:
        _check_inputs(first, second)
        samples = _sample_source(first, data, limit, seed)
        return _Comparison(first, second, samples, scale, budget, seed).report(layers)


class _Comparison:
    def __init__(self, a: Subject, b: Subject, samples: Samples, scale: float, budget: int, seed: int) -> None:
        self.a, self.b, self.samples = a, b, samples
        self.scale, self.budget, self.seed = scale, budget, seed
        self.result = Report(a.label, b.label, [], [])
        self.judge = Judge(frozenset(), scale)
        self.layers: dict[str, Layer] = {}
        self.mapped: dict[str, str] = {}
        self.facts_a: dict[str, TensorFacts] = {}
        self.facts_b: dict[str, TensorFacts] = {}

    def report(self, with_layers: bool) -> Report:
        for subject in (self.a, self.b):
            if names := subject.python_operators:
                self.result.notes.append(f"'{subject.label}': {', '.join(names)} run in Python")
        if self.a.graph is not None and self.b.graph is not None:
            self._map(with_layers)
        else:
            self.result.notes.append("one side gives no intermediate tensors: only outputs are compared")
        self._compare_outputs()
        if with_layers and self.layers:
            for chunk in self._chunks():
                self._compare_layers(chunk)
            self._explain()
        return self.result

    # -- mapping
    # -----------------------------------------------------------------------------------------------
    def _map(self, with_layers: bool) -> None:
        a, b = self.a, self.b
        assert a.graph is not None and b.graph is not None
        mapped = counterparts(a, b)
        if with_layers:
            feeds = next(self.samples()).feeds
            names_b = [name for node in b.graph.nodes for name in node.output if name]
            self.facts_a = self._observe(a, list(dict.fromkeys(mapped.values())), feeds)
            self.facts_b = self._observe(b, names_b, feeds)
            for name, value in feeds.items():
                known = facts_of(value)
                if known is not None:
                    self.facts_b[name] = self.facts_a[name] = known
            kept = {n: r for n, r in mapped.items() if compatible(self.facts_a.get(r), self.facts_b.get(n))}
            self.result.unmapped = [name for name in names_b if name not in kept and name in self.facts_b]
            mapped = kept
        self.mapped = mapped
        self.judge = Judge(coarse_types(a.graph, list(range(len(a.graph.nodes))), self.facts_a), self.scale)
        self.layers = {layer.name: layer for layer in build_layers(a, b, mapped, self.facts_b)}

    def _observe(self, subject: Subject, names: list[str], feeds: Mapping[str, Any]) -> dict[str, TensorFacts]:
        found = {name: facts_of(value) for name, value in observe(subject, names, feeds, budget=self.budget)}
        return {name: facts for name, facts in found.items() if facts is not None}

    def _chunks(self) -> Iterator[list[Layer]]:
        """Layers in order, as many at a time as fit the budget."""
        chunk: list[Layer] = []
        held = 0
        for layer in self.layers.values():
            size = self.facts_b[layer.name].nbytes + sum(self.facts_b[e].nbytes for e in layer.edges if e in self.facts_b)
            if chunk and held + size > self.budget:
                yield chunk
                chunk, held = [], 0
            chunk.append(layer)
            held += size
        if chunk:
            yield chunk

    # -- outputs
    # -----------------------------------------------------------------------------------------------
    def _compare_outputs(self) -> None:
        pairs = _output_pairs(self.a, self.b)
        parts: dict[str, list[Difference]] = {name: [] for name, _ in pairs}
        expected: dict[str, list[Difference]] = {name: [] for name, _ in pairs}
        moments = {name: (Moments(), Moments()) for name, _ in pairs}
        order = [spec.name for spec in self.a.signature.outputs]
        spreads: dict[str, float] = {}
        for index, sample in enumerate(self.samples()):
            self.result.samples.append(sample.name)
            self.result.notes += [f"sample '{sample.name}': {warning}" for warning in sample.warnings]
            left, right = self.a.run(sample.feeds), self.b.run(sample.feeds)
            for name, other in pairs:
                parts[name].append(difference(left[name], right[other]))
                if sample.expected is not None and order.index(name) < len(sample.expected):
                    expected[name].append(difference(sample.expected[order.index(name)], right[other]))
                for moment, value in zip(moments[name], (left[name], right[other]), strict=True):
                    if isinstance(value, np.ndarray) and is_float(value):
                        moment.add(value)
            if index == 0:
                failing = [n for n, o in pairs if not self._within(n, o, parts[n])]
                spreads = spread(self.a, sample.feeds, left) if failing else {}
        for name, other in pairs:
            allowed = max(self._output_tolerance(other, worst_of(parts[name])), spreads.get(name, 0.0))
            self.result.outputs.append(self._output_report(name, other, parts[name], expected[name], moments[name], allowed))

    def _within(self, name: str, other: str, parts: list[Difference]) -> bool:
        worst = worst_of(parts)
        return worst.relative <= self._output_tolerance(other, worst)

    def _output_tolerance(self, name: str, worst: Difference) -> float:
        spec = next(s for s in self.b.signature.outputs if s.name == name)
        own = spec.dtype if spec.dtype is not None else DType.FLOAT
        layer = self.layers.get(name)
        if layer is None:
            return self.judge.unknown(own, self.b.precision, worst)
        return self.judge.accumulated(layer, own, worst)

    def _output_report(
        self,
        name: str,
        other: str,
        parts: list[Difference],
        expected: list[Difference],
        moments: tuple[Moments, Moments],
        allowed: float,
    ) -> OutputReport:
        error = figures(parts, pooled(parts), allowed)
        against = figures(expected, pooled(expected), allowed) if expected else None
        layer = self.layers.get(other)
        if layer is not None and layer.random and parts[0].kind != "shape":
            count = max(moments[0].count, 1)
            moved = drift(*moments).flags(max(DRIFT_LIMIT, 6 / count**0.5)) if moments[0].count else []
            moved = [flag for flag in moved if flag in ("bias", "gain")]
            why = "random: distributions differ" if moved else "random: compared by distribution only"
            return OutputReport(name, error, not moved, against, why)
        if parts[0].kind == "exact" and 0 < error.worst <= error.tolerance:
            return OutputReport(name, error, True, against, "a few elements decided by nearly equal numbers differ")
        return OutputReport(name, error, error.within, against)

    # -- layers
    # ------------------------------------------------------------------------------------------------
    def _compare_layers(self, chunk: list[Layer]) -> None:
        targets = [layer.name for layer in chunk]
        edges = list(dict.fromkeys(e for layer in chunk for e in layer.edges if e in self.mapped))
        wanted = list(dict.fromkeys([self.mapped[name] for name in (*targets, *edges)]))
        part_a, part_b = Part(self.a, wanted), Part(self.b, targets)
        isolated = self._isolated_part(targets)
        gathered = {layer.name: _Gathered() for layer in chunk}
        for sample in self.samples():
            left, right = part_a.run(sample.feeds), part_b.run(sample.feeds)
            alone = None
            if isolated is not None:
                alone = isolated.run(self._fed(sample.feeds, left, isolated.inputs))
            for layer in chunk:
                reference = left[layer.reference]
                gathered[layer.name].add(reference, right[layer.name], None if alone is None else alone[layer.name])
        for layer in chunk:
            self.result.layers.append(self._layer_report(layer, gathered[layer.name]))

    def _cut_types(self) -> dict[str, tuple[int, int]]:
        types = {}
        for name in self.mapped:
            facts = self.facts_b[name]
            types[name] = (DType.from_numpy(facts.dtype).code, len(facts.shape))
        return types

    def _isolated_part(self, targets: list[str]) -> Part | None:
        try:
            return Part(self.b, targets, self._cut_types())
        except Diagnostic as error:
            self.result.notes.append(f"layers from '{targets[0]}' on cannot be run alone: {error.message}")
            return None

    def _fed(self, feeds: Mapping[str, Any], left: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Feeds of an isolated part: the reference's tensors in the element types of the second model."""
        fed = dict(feeds)
        for name in names:
            if name in self.mapped:
                value = left[self.mapped[name]]
                wanted = self.facts_b[name].dtype
                fed[name] = value if value.dtype == wanted else value.astype(wanted)
        return fed

    def _layer_report(self, layer: Layer, gathered: _Gathered) -> LayerReport:
        assert self.b.graph is not None
        own = DType.from_numpy(self.facts_b[layer.name].dtype)
        nodes = [self.b.graph.nodes[i] for i in layer.nodes]
        alone = None
        if gathered.isolated and not layer.draws:
            worst = worst_of(gathered.isolated)
            alone = figures(gathered.isolated, pooled(gathered.isolated), self.judge.isolated(layer, own, worst))
            if not alone.within and worst.kind == "float" and alone.worst < SUSPICIOUS:
                alone = self._reconsider(layer, alone)
        accumulated = None
        if not layer.random:
            allowed = self.judge.accumulated(layer, own, worst_of(gathered.accumulated))
            accumulated = figures(gathered.accumulated, pooled(gathered.accumulated), allowed)
        report = LayerReport(
            layer.name,
            layer.reference,
            [n.name or n.output[0] for n in nodes],
            [f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in nodes],
            list(dict.fromkeys(s for i in layer.nodes for s in self.b.sources(i))),
            own.short,
            accumulated,
            alone,
            layer.random,
        )
        first, second = gathered.moments
        if first.count and second.count:
            report.drift = drift(first, second)
            limit = max(DRIFT_LIMIT, 2 * alone.tolerance if alone is not None else 0.0)
            report.flags = report.drift.flags(max(limit, 6 / first.count**0.5) if layer.draws else limit)
            report.quantiles = (first.quantiles(), second.quantiles())
        return report

    def _reconsider(self, layer: Layer, alone: ErrorFigures) -> ErrorFigures:
        """Raise the tolerance of a layer that magnifies the rounding errors of its inputs."""
        sample = next(self.samples())
        edges = list(dict.fromkeys(self.mapped[e] for e in layer.edges if e in self.mapped))
        left = Part(self.a, edges).run(sample.feeds) if edges else {}
        fed = self._fed(sample.feeds, left, layer.edges)
        justified = self.scale * conditioning(self.b, layer.name, self._cut_types(), fed, self.seed)
        return replace(alone, tolerance=justified) if justified > alone.tolerance else alone

    def _explain(self) -> None:
        result = self.result
        if not result.passed and result.first_diverging is None:
            result.notes.append(
                "every layer alone is within its tolerance: the error builds up over the layers, or the "
                "runtime's own "
                "optimisations cause it"
            )


class _Gathered:
    """What is kept of one layer while the samples go by."""

    def __init__(self) -> None:
        self.accumulated: list[Difference] = []
        self.isolated: list[Difference] = []
        self.moments = (Moments(), Moments())

    def add(self, reference: Any, other: Any, alone: Any) -> None:
        self.accumulated.append(difference(reference, other))
        if alone is not None:
            self.isolated.append(difference(reference, alone))
        if is_float(reference):
            self.moments[0].add(reference)
            self.moments[1].add(other if alone is None else alone)


def _check_inputs(a: Subject, b: Subject) -> None:
    names_a = [s.name for s in a.signature.inputs]
    names_b = [s.name for s in b.signature.inputs]
    for name in names_b:
        if name not in names_a:
            missing = [n for n in names_a if n not in names_b]
            hint = did_you_mean(name, missing or names_a)
            raise Diagnostic(E_COMPARE, f"'{b.label}' takes an input '{name}' that '{a.label}' does not", hint=hint)
    for name in names_a:
        if name not in names_b:
            raise Diagnostic(E_COMPARE, f"'{a.label}' takes an input '{name}' that '{b.label}' does not")


def _output_pairs(a: Subject, b: Subject) -> list[tuple[str, str]]:
    names_a = [s.name for s in a.signature.outputs]
    names_b = [s.name for s in b.signature.outputs]
    if len(set(names_a)) == len(names_a) and set(names_a) <= set(names_b):
        return [(name, name) for name in names_a]
    if len(names_a) == len(names_b):
        return list(zip(names_a, names_b, strict=True))
    missing = [n for n in names_a if n not in names_b]
    hint = did_you_mean(missing[0], names_b) if missing else ""
    raise Diagnostic(E_COMPARE, f"'{b.label}' lacks outputs of '{a.label}': {', '.join(missing)}", hint=hint)


def _sample_source(subject: Subject, data: Any, limit: int | None, seed: int) -> Samples:
    signature = subject.signature
    if data is None:
        from .synthesize import synthesize_feeds

        if subject.model is None:
            raise Diagnostic(E_COMPARE, f"'{subject.label}' tells too little to make up inputs", hint="give --data")
        feeds = synthesize_feeds(subject.model, seed, count=limit or 1, accepts=subject.accepts)
        made = [Sample(f"synthetic {i}", subject.signature.check(f)) for i, f in enumerate(feeds)]
        return lambda: iter(made)
    if isinstance(data, str | Path):
        return lambda: iterate_dataset(data, signature, limit=limit)
    samples = [s if isinstance(s, Sample) else Sample(str(i), dict(s)) for i, s in enumerate(data)]
    if not samples:
        raise Diagnostic(E_COMPARE, "there are no samples to compare the models on")
    for sample in samples[:limit]:
        sample.feeds = signature.check(sample.feeds, f"sample '{sample.name}'")
    return lambda: iter(samples[:limit])
