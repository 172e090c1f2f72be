"""Comparing two models layer by layer: which layer computes something else, and does it matter at the
outputs?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from ..ir.dtypes import DType
from ..ir.model import Model
from .bundle import Bundle
from .compare import Difference, Moments, comparable, difference, drift, is_float, pooled
from .dataset import Sample
from .judge import Judge, figures, worst_of
from .layers import Layer, build_layers, coarse_types, compatible, counterparts
from .noise import HOPELESS, LAST, allowance, chaotic, noise_floor
from .pairing import Samples, check_inputs, nothing_to_compare, output_pairs, sample_source
from .report import ErrorFigures, LayerReport, OutputReport, Report
from .subject import Subject
from .tensors import Part, TensorFacts, facts_of, nbytes_of, observe

Source = str | Path | Model | Bundle
DRIFT_LIMIT = 0.02  # of a standard deviation, respectively of the deviation itself
HEAVY = 256 << 20  # bytes of weights of both models, above which one session is alive at a time


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
    progress: Callable[[str], None] = lambda text: None,
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
        seed: for made-up inputs, and for measuring noise floors.
        custom_op_libraries: shared libraries with kernels for operators that the runtime does not know.
        progress: told what is being done, in a few words.

    Raises:
        Diagnostic: E0622 when the signatures do not match, E0601–E0604 for bad data, and what running a model
            raises.
    """
    with Subject(a, custom_op_libraries) as first, Subject(b, custom_op_libraries) as second:
        check_inputs(first, second)
        samples = sample_source(first, data, limit, seed, second.signature.frozen)
        return _Comparison(first, second, samples, scale, budget, seed, progress).report(layers)


class _Comparison:
    def __init__(
        self, a: Subject, b: Subject, samples: Samples, scale: float, budget: int, seed: int, progress: Callable[[str], None]
    ) -> None:
        self.a, self.b, self.samples = a, b, samples
        self.scale, self.budget, self.seed = scale, budget, seed
        self.progress = progress
        self.heavy = a.weight_bytes + b.weight_bytes > HEAVY
        self.result = Report(a.label, b.label, [], [])
        self.judge = Judge(frozenset(), scale)
        self.layers: dict[str, Layer] = {}
        self.mapped: dict[str, str] = {}
        self.facts_a: dict[str, TensorFacts] = {}
        self.facts_b: dict[str, TensorFacts] = {}

    def report(self, with_layers: bool) -> Report:
        for subject in (self.a, self.b):
            if names := subject.python_operators:
                self.result.notes.append(f"'{subject.label}': no kernel, therefore in Python: {', '.join(names)}")
        if self.a.graph is not None and self.b.graph is not None:
            self._map(with_layers)
        else:
            self.result.notes.append("one side gives no intermediate tensors: only outputs are compared")
        self._compare_outputs()
        if with_layers and self.layers:
            done = 0
            for chunk in self._chunks():
                self.progress(f"layers {done + 1} to {done + len(chunk)} of {len(self.layers)}")
                self._compare_layers(chunk)
                done += len(chunk)
            self._explain()
        return self.result

    # -- mapping
    # -----------------------------------------------------------------------------------------------
    def _map(self, with_layers: bool) -> None:
        a, b = self.a, self.b
        assert a.graph is not None and b.graph is not None
        mapped = counterparts(a, b)
        if with_layers:
            self.progress("looking at the tensors")
            feeds = next(self.samples()).feeds
            names_b = [name for node in b.graph.nodes for name in node.output if name]
            self.facts_a = self._observe(a, list(dict.fromkeys(mapped.values())), feeds)
            self.facts_b = self._observe(b, names_b, feeds)
            for name, value in feeds.items():
                known = facts_of(value)
                if known is not None:
                    self.facts_b[name] = self.facts_a[name] = known
            variable = b.graph.variable_tensors()
            kept = {n: r for n, r in mapped.items() if compatible(self.facts_a.get(r), self.facts_b.get(n))}
            self.result.unmapped = [name for name in names_b if name not in kept and name in self.facts_b and name in variable]
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
        pairs = output_pairs(self.a, self.b)
        parts: dict[str, list[Difference]] = {name: [] for name, _ in pairs}
        expected: dict[str, list[Difference]] = {name: [] for name, _ in pairs}
        moments = {name: (Moments(), Moments()) for name, _ in pairs}
        order = [spec.name for spec in self.a.signature.outputs]
        anything = False
        for block in self._blocks(self.a):
            for sample, left in block:
                self.result.samples.append(sample.name)
                self.result.notes += [f"sample '{sample.name}': {warning}" for warning in sample.warnings]
                right = self.b.run(sample.feeds)
                anything = anything or any(comparable(left[name]) for name, _ in pairs)
                for name, other in pairs:
                    parts[name].append(difference(left[name], right[other]))
                    if sample.expected is not None and order.index(name) < len(sample.expected):
                        expected[name].append(difference(sample.expected[order.index(name)], right[other]))
                    for moment, value in zip(moments[name], (left[name], right[other]), strict=True):
                        if isinstance(value, np.ndarray) and is_float(value):
                            moment.add(value)
            self._free(self.b)
        if not anything:
            raise nothing_to_compare(self.a.label, self.result.notes)
        found = {name: figures(parts[name], pooled(parts[name]), self._output_tolerance(o, worst_of(parts[name]))) for name, o in pairs}
        self._measure_noise(found, parts)
        for name, other in pairs:
            self.result.outputs.append(self._output_report(other, name, found[name], parts[name], expected[name], moments[name]))

    def _blocks(self, runner: Subject | Part) -> Iterator[list[tuple[Sample, dict[str, Any]]]]:
        """Samples with what a model gives for them, as many at a time as fit the budget; a heavy model is
        dropped before they are handed over.
        """
        waiting = self.samples()
        while True:
            block: list[tuple[Sample, dict[str, Any]]] = []
            held = 0
            for sample in waiting:
                self.progress(f"sample '{sample.name}'")
                block.append((sample, runner.run(sample.feeds)))
                held += sum(map(nbytes_of, block[-1][1].values())) + sum(map(nbytes_of, sample.feeds.values()))
                if held >= self.budget:
                    break
            self._free(runner)
            if not block:
                return
            yield block

    def _free(self, runner: Subject | Part) -> None:
        if self.heavy:
            runner.release()

    def _measure_noise(self, found: dict[str, ErrorFigures], parts: Mapping[str, list[Difference]]) -> None:
        """Raise the tolerances of outputs that rounding alone moves as far, each on its worst sample."""
        wanted: dict[int, list[str]] = {}
        for name, error in found.items():
            worst = worst_of(parts[name])
            if not error.within and worst.kind == "float" and worst.relative <= HOPELESS:
                wanted.setdefault(parts[name].index(worst), []).append(name)
        subject = self.a if self.a.graph is not None else self.b
        for index, sample in enumerate(self.samples() if wanted else ()):
            if index in wanted:
                self.progress(f"measuring the noise floor on sample '{sample.name}'")
                floors = noise_floor(subject, sample.feeds, seed=self.seed)
                for name in wanted[index]:
                    found[name] = self._with_noise(found[name], floors.get(name))

    def _with_noise(self, error: ErrorFigures, floor: float | None) -> ErrorFigures:
        if floor is None:
            return error
        return replace(error, noise_floor=floor, tolerance=max(error.tolerance, self.scale * allowance(floor)))

    def _output_tolerance(self, name: str, worst: Difference) -> float:
        spec = next(s for s in self.b.signature.outputs if s.name == name)
        own = spec.dtype if spec.dtype is not None else DType.FLOAT
        layer = self.layers.get(name)
        if layer is None:
            return self.judge.unknown(own, self.b.precision, worst)
        return self.judge.accumulated(layer, own, worst)

    def _output_report(
        self,
        other: str,
        name: str,
        error: ErrorFigures,
        parts: list[Difference],
        expected: list[Difference],
        moments: tuple[Moments, Moments],
    ) -> OutputReport:
        against = figures(expected, pooled(expected), error.tolerance) if expected else None
        layer = self.layers.get(other)
        random = layer is not None and layer.random and parts[0].kind != "shape"
        result = OutputReport(name, error, error.within, against)
        _describe(result, moments, max(DRIFT_LIMIT, 6 / max(moments[0].count, 1) ** 0.5) if random else DRIFT_LIMIT)
        if random:
            result.passed = not {"bias", "gain"}.intersection(result.flags)
            result.why = "random: compared by distribution only" if result.passed else "random: distributions differ"
        elif parts[0].kind == "exact" and 0 < error.worst <= error.tolerance:
            result.why = "a few elements decided by nearly equal numbers differ"
        elif error.noise_floor is not None:
            moved = f"ill-conditioned: rounding alone moves it by {error.noise_floor:.2g}"
            result.why = moved if error.within or chaotic(error.noise_floor) else "more than rounding explains"
        return result

    # -- layers
    # ------------------------------------------------------------------------------------------------
    def _compare_layers(self, chunk: list[Layer]) -> None:
        targets = [layer.name for layer in chunk]
        edges = list(dict.fromkeys(e for layer in chunk for e in layer.edges if e in self.mapped))
        wanted = list(dict.fromkeys([self.mapped[name] for name in (*targets, *edges)]))
        part_b = Part(self.b, targets)
        isolated = self._isolated_part(targets)
        gathered = {layer.name: _Gathered() for layer in chunk}
        for block in self._blocks(Part(self.a, wanted)):
            for sample, left in block:
                right = part_b.run(sample.feeds)
                for layer in chunk:
                    gathered[layer.name].add(left[layer.reference], right[layer.name], count=isolated is None)
            self._free(part_b)
            if isolated is not None:
                for sample, left in block:
                    alone = isolated.run(self._fed(sample.feeds, left, isolated.inputs))
                    for layer in chunk:
                        gathered[layer.name].add_alone(left[layer.reference], alone[layer.name])
                self._free(isolated)
        for layer in chunk:
            self.result.layers.append(self._layer_report(layer, gathered[layer.name]))

    def _cut_types(self, names: Iterable[str], facts: Mapping[str, TensorFacts]) -> dict[str, tuple[int, int]]:
        return {name: (DType.from_numpy(facts[name].dtype).code, len(facts[name].shape)) for name in names}

    def _isolated_part(self, targets: list[str]) -> Part | None:
        try:
            part = Part(self.b, targets, self._cut_types(self.mapped, self.facts_b))
            part.load()
        except Diagnostic as error:
            self.result.notes.append(f"layers from '{targets[0]}' on cannot be run alone: {error.message}")
            return None
        self._free(part)
        return part

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
            alone = self._reconsider(layer, alone, gathered.isolated, layer.edges)
        accumulated = None
        if not layer.random:
            allowed = self.judge.accumulated(layer, own, worst_of(gathered.accumulated))
            accumulated = figures(gathered.accumulated, pooled(gathered.accumulated), allowed)
            if alone is None:
                accumulated = self._reconsider(layer, accumulated, gathered.accumulated, ())
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
        limit = max(DRIFT_LIMIT, 2 * alone.tolerance if alone is not None else 0.0)
        _describe(report, gathered.moments, max(limit, 6 / max(gathered.moments[0].count, 1) ** 0.5) if layer.draws else limit)
        return report

    def _reconsider(self, layer: Layer, error: ErrorFigures, parts: list[Difference], edges: Iterable[str]) -> ErrorFigures:
        """Raise the tolerance of a layer that magnifies rounding errors, measured in the reference from the
        tensors at the layer's edges.
        """
        worst = worst_of(parts)
        if error.within or worst.kind != "float" or worst.relative > LAST * self.scale:
            return error
        assert self.a.graph is not None
        sample = next(s for index, s in enumerate(self.samples()) if index == parts.index(worst))
        cuts = list(dict.fromkeys(self.mapped[e] for e in edges if e in self.mapped))
        left = Part(self.a, cuts).run(sample.feeds) if cuts else {}
        part = self.a.graph.extract([layer.reference], self._cut_types(cuts, self.facts_a))
        floors = noise_floor(self.a, {**sample.feeds, **left}, part=part, seed=self.seed)
        return self._with_noise(error, max(floors.values(), default=None))

    def _explain(self) -> None:
        result = self.result
        if not result.passed and result.first_diverging is None:
            result.notes.append(
                "every layer alone is within its tolerance: the error builds up over the layers, or the runtime's own "
                "optimisations cause it"
            )


def _describe(report: LayerReport | OutputReport, moments: tuple[Moments, Moments], limit: float) -> None:
    """Fill in the distributions, with flags for what moved by more than ``limit``."""
    first, second = moments
    if first.count and second.count:
        report.drift = drift(first, second)
        report.flags = report.drift.flags(limit)
        report.quantiles = (first.quantiles(), second.quantiles())


class _Gathered:
    """What is kept of one layer while the samples go by."""

    def __init__(self) -> None:
        self.accumulated: list[Difference] = []
        self.isolated: list[Difference] = []
        self.moments = (Moments(), Moments())

    def add(self, reference: Any, other: Any, *, count: bool) -> None:
        """Take in one sample; ``count`` tells whether the distribution of ``other`` is the one to look at."""
        self.accumulated.append(difference(reference, other))
        if count:
            self._count(reference, other)

    def add_alone(self, reference: Any, alone: Any) -> None:
        """Take in what the layer makes of the reference's tensors."""
        self.isolated.append(difference(reference, alone))
        self._count(reference, alone)

    def _count(self, reference: Any, other: Any) -> None:
        if is_float(reference):
            self.moments[0].add(reference)
            self.moments[1].add(other)
