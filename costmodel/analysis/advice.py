"""Advice: rules that look at a prediction and say what would help, each with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..prediction import GraphPrediction
from ..roofline import Roofs
from .batching import BatchCurve
from .bottleneck import Bottleneck, bound_shares
from .elasticity import Elasticities
from .fusion_report import FusionCase

SIGNIFICANT = 0.1  # share of the time from which a rule speaks


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes:
        rule: its name.
        action: what to do.
        evidence: why.
        gain: share of the time that it might save; None when that is not known.
    """

    rule: str
    action: str
    evidence: str
    gain: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Findings:
    """What the rules look at.

    Attributes:
        prediction: the model on the engine.
        roofs: the engine.
        bottlenecks: of its nodes.
        elasticities: None when they were not computed.
        curve: over the batch; None when there is none.
        fusion: of its regions.
        shares: of the time by kind, of `rollup.typical_shares`.
        precisions: expected seconds by precision.
        memory_bytes: capacity of the target's memory.
    """

    prediction: GraphPrediction
    roofs: Roofs
    bottlenecks: Sequence[Bottleneck]
    elasticities: Elasticities | None = None
    curve: BatchCurve | None = None
    fusion: Sequence[FusionCase] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    precisions: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: float = 0.0

    @property
    def seconds(self) -> float:
        """Expected."""
        return self.prediction.seconds[1]

    def class_share(self, *kernels: str) -> float:
        """The share of the time of kernels of some classes."""
        return sum(n.seconds[1] for n in self.prediction.nodes if n.kernel in kernels) / self.seconds if self.seconds else 0.0

    def kind_share(self, kind: str) -> float:
        """The share of the time of kernels that something bounds."""
        return sum(b.share for b in self.bottlenecks if b.kind == kind)


Rule = Callable[[Findings], "Advice | None"]


def _capacity(f: Findings) -> Advice | None:
    need = f.prediction.weight_bytes + f.prediction.peak_bytes
    if not f.memory_bytes or need <= f.memory_bytes:
        return None
    evidence = f"weights {f.prediction.weight_bytes / 1e9:.3g} GB and activations {f.prediction.peak_bytes / 1e9:.3g} GB exceed"
    return Advice("capacity", "shrink the model, its weights or its batch: it does not fit", f"{evidence} {f.memory_bytes / 1e9:.3g} GB")


def _overhead(f: Findings) -> Advice | None:
    shares = bound_shares(f.prediction)
    run = shares.get("run", 0.0)
    share = shares.get("dispatch", 0.0) + run
    if share < 2 * SIGNIFICANT:
        return None
    launches = sum(1 for b in f.bottlenecks if b.kind == "dispatch")
    record = "record the launches once (CUDA graphs, command buffers), " if f.roofs.engine.kind == "gpu" else ""
    evidence = f"{share:.0%} of the time is overhead: {launches} kernels last no longer than their launch"
    return Advice("overhead", f"{record}fuse small kernels, or batch", evidence, share)


def _weights(f: Findings) -> Advice | None:
    moved = sum(n.bytes for n in f.prediction.nodes)
    read = f.curve.weight_traffic if f.curve is not None else f.prediction.weight_bytes
    share = min(read / moved, 1.0) if moved else 0.0
    memory = f.kind_share("memory")
    if share < 0.5 or memory < 3 * SIGNIFICANT or f.prediction.precision == "w4":
        return None
    narrow = {p: s for p, s in f.precisions.items() if p in ("w4", "w8", "i8") and s < f.seconds}
    best = min(narrow, key=lambda p: narrow[p], default="")
    gain = 1.0 - narrow[best] / f.seconds if best else None
    named = f" ({best}: {narrow[best] * 1e3:.3g} ms instead of {f.seconds * 1e3:.3g} ms)" if best else ""
    slope = f.elasticities.whole if f.elasticities is not None else None
    flat = f", elasticity {slope.memory:.2f} in the memory clock" if slope is not None else ""
    evidence = f"{share:.0%} of the bytes are weights and memory bounds {memory:.0%} of the time{flat}"
    return Advice("weights", f"quantise the weights{named}, or serve more items per run", evidence, gain)


def _batch(f: Findings) -> Advice | None:
    if f.curve is None or len(f.curve.batches) < 2:
        return None
    from .batching import grown_batch

    chosen = grown_batch(f.curve, f.memory_bytes or float("inf"))
    if chosen <= f.curve.batches[0]:
        return None
    position = f.curve.batches.tolist().index(chosen)
    factor = f.curve.throughput[position] / f.curve.throughput[0]
    evidence = f"the time grows by {1 / f.curve.efficiency[position] - 1:.0%} while the items grow {chosen / f.curve.batches[0]:.3g} times"
    return Advice("batch", f"a batch of {chosen} gives {factor:.3g} times the throughput", evidence, 1 - 1 / factor)


def _compute(f: Findings) -> Advice | None:
    share = f.kind_share("compute")
    if share < 0.5:
        return None
    faster = {p: s for p, s in f.precisions.items() if s < 0.9 * f.seconds and p not in ("w4", "w8")}
    slope = f.elasticities.whole if f.elasticities is not None else None
    clocks = f"; elasticity {slope.core:.2f} in the core clock, {slope.memory:.2f} in that of memory" if slope is not None else ""
    evidence = f"arithmetic bounds {share:.0%} of the time{clocks}"
    if not faster:
        return Advice("compute", "reduce operations (prune, smaller width or resolution) or raise the core clock", evidence)
    best = min(faster, key=lambda p: faster[p])
    figures = f"{faster[best] * 1e3:.3g} ms instead of {f.seconds * 1e3:.3g} ms"
    return Advice("compute", f"compute in {best}: {figures}", evidence, 1 - faster[best] / f.seconds)


def _fusion(f: Findings) -> Advice | None:
    good = [case for case in f.fusion if case.verdict == "fuse"]
    bad = [case for case in f.fusion if case.verdict == "split"]
    saved = sum(case.gain for case in good) / f.seconds if f.seconds else 0.0
    if bad:
        worst = min(bad, key=lambda case: case.gain)
        return Advice("fusion", f"do not fuse {worst.name}", worst.evidence, -worst.gain / f.seconds)
    if saved < SIGNIFICANT / 2:
        return None
    best = max(good, key=lambda case: case.gain)
    return Advice("fusion", f"keep {len(good)} fused kernels", f"they save {saved:.0%}; the largest, {best.name}: {best.evidence}", saved)


def _movement(f: Findings) -> Advice | None:
    share = f.class_share("movement")
    if share < SIGNIFICANT:
        return None
    worst = max((n for n in f.prediction.nodes if n.kernel == "movement"), key=lambda n: n.seconds[1])
    evidence = f"{share:.0%} of the time only moves data, most of it {worst.name} ({worst.op}, {worst.seconds[1] * 1e3:.3g} ms)"
    return Advice("layout", "assign layouts so that transposes and copies vanish", evidence, share)


def _activations(f: Findings) -> Advice | None:
    last = f.roofs.levels[-1].name
    kinds = ("elementwise", "normalization", "softmax", "reduction", "conv-depthwise")
    share = sum(b.share for b, n in zip(f.bottlenecks, f.prediction.nodes, strict=True) if b.kind == "memory" and n.kernel in kinds)
    if share < 2 * SIGNIFICANT:
        return None
    near = f.roofs.levels[-2] if len(f.roofs.levels) > 1 else None
    fits = f"; peak activations {f.prediction.peak_bytes / 1e6:.3g} MB, {near.name} holds {near.capacity / 1e6:.3g} MB" if near else ""
    evidence = f"{share:.0%} of the time moves activations of operators that compute little{fits}"
    return Advice("activations", f"fuse them, tile so that they stay nearer than {last}, or narrow the activations", evidence, share / 2)


def _padding(f: Findings) -> Advice | None:
    lost = [
        (b, n)
        for b, n in zip(f.bottlenecks, f.prediction.nodes, strict=True)
        if b.kind == "compute" and b.intensity is not None and n.macs and b.intensity < b.ridge
    ]
    share = sum(b.share for b, _ in lost)
    if share < SIGNIFICANT:
        return None
    worst = max(lost, key=lambda pair: pair[0].share)
    evidence = f"{share:.0%} of the time is arithmetic that should have been bound by memory; {worst[0].name}: {worst[0].evidence}"
    array = f.roofs.engine.array
    unit = f"multiples of {array[0]} by {array[1]}" if array else f"multiples of {max(f.roofs.engine.vector_bytes // 4, 1)} elements"
    return Advice("padding", f"choose channels and batches as {unit}", evidence, share / 2)


def _attention(f: Findings) -> Advice | None:
    share = f.shares.get("attention products", 0.0)
    if share < 3 * SIGNIFICANT:
        return None
    evidence = f"{share:.0%} of the time are scores and mixing, which grow with the square of the sequence"
    return Advice("attention", "use a fused attention kernel, a shorter context or a sliding window", evidence)


def _unknown(f: Findings) -> Advice | None:
    strangers = [n for n in f.prediction.nodes if not n.known]
    share = sum(n.seconds[2] for n in strangers) / f.prediction.seconds[2] if f.prediction.seconds[2] else 0.0
    if not strangers or share < SIGNIFICANT / 2:
        return None
    return Advice(
        "unknown", "measure the unknown operators: edgec profile", f"up to {share:.0%} of the time: {strangers[0].op} and the like"
    )


RULES: tuple[Rule, ...] = (
    _capacity, _overhead, _weights, _compute, _activations, _fusion, _batch, _movement, _padding, _attention, _unknown,
)  # fmt: skip


def advise(findings: Findings, rules: Sequence[Rule] = RULES) -> list[Advice]:
    """What the rules say; the largest gain first, but what does not fit before everything else."""
    found = [advice for rule in rules if (advice := rule(findings)) is not None]
    return sorted(found, key=lambda a: (a.rule != "capacity", -(a.gain or 0.0)))
