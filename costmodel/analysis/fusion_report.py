"""Fusion explained: every fused kernel against its pieces, with weights and spills, and whether fusing pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...ir.graph import Graph, Node
from ..fusion import FusionGain, Piece, fusion_gain
from ..prediction import GraphPrediction, Prediction
from ..roofline import Roofs
from ..schedule import label
from .bottleneck import attained_peak, ridge_point

REGISTERS = 16  # vector registers that hold intermediates of a chain on processors
NOTABLE = 0.02  # relative gains below this are neither here nor there


@dataclass(frozen=True)
class FusionCase:
    """One fused kernel.

    Attributes:
        name: the kernel.
        nodes: what it fuses.
        flops: operations of all pieces.
        intensities: operations per byte of every piece, weights included.
        intensity_before: of the pieces together, each reading and writing its own operands.
        intensity_after: of the fused kernel, weights and spills included.
        ridge: of the last memory level, for the arithmetic of the kernel.
        bytes_before: bytes that the pieces touch.
        bytes_after: bytes that the fused kernel touches.
        weight_bytes: of these, constants.
        spill_bytes: intermediates that exceed the registers.
        roofline_before: seconds: Σ max(F_i / P_i, B_i / BW) and a launch for each.
        roofline_after: seconds: max(Σ F_i / P_i, B' / BW) and one launch.
        seconds_before: what the cost model says of the pieces, caches included.
        seconds_after: and of the fused kernel.
        bound_before: what bounds the piece that takes longest.
        bound_after: what bounds the fused kernel.
    """

    name: str
    nodes: tuple[str, ...]
    flops: float
    intensities: tuple[float, ...]
    intensity_before: float
    intensity_after: float
    ridge: float
    bytes_before: float
    bytes_after: float
    weight_bytes: float
    spill_bytes: float
    roofline_before: float
    roofline_after: float
    seconds_before: float
    seconds_after: float
    bound_before: str
    bound_after: str

    @property
    def gain(self) -> float:
        """Seconds that fusing saves; negative when it costs time."""
        return self.seconds_before - self.seconds_after

    @property
    def verdict(self) -> str:
        """``fuse``, ``split`` or ``indifferent``."""
        relative = self.gain / self.seconds_before if self.seconds_before else 0.0
        return "fuse" if relative > NOTABLE else "split" if relative < -NOTABLE else "indifferent"

    @property
    def evidence(self) -> str:
        """The reason in one line."""
        saved = self.bytes_before - self.bytes_after
        change = f"AI {self.intensity_before:.3g} -> {self.intensity_after:.3g} FLOP/B at a ridge of {self.ridge:.3g}"
        moved = f"{saved / 1e3:.3g} kB and {len(self.nodes) - 1} launches saved"
        spilled = f", {self.spill_bytes / 1e3:.3g} kB spilled" if self.spill_bytes else ""
        return f"{self.bound_before}-bound before, {self.bound_after}-bound after: {change}; {moved}{spilled}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "gain": self.gain, "verdict": self.verdict, "evidence": self.evidence}


def explain_fusion(before: GraphPrediction, after: GraphPrediction, grouped: Graph, roofs: Roofs) -> list[FusionCase]:
    """Every kernel of several nodes against these nodes one by one, in order.

    Args:
        before: prediction of the plain graph.
        after: prediction of the same graph with its nodes grouped into regions.
        grouped: that graph.
        roofs: the engine's.
    """
    pieces = {node.name: node for node in before.nodes}
    regions = {label(node): node for node in grouped.walk() if node.op.op_name == "Region"}
    found: list[FusionCase] = []
    for kernel in after.nodes:
        if len(kernel.nodes) < 2 or kernel.name not in regions:
            continue
        parts = [pieces[name] for name in kernel.nodes if name in pieces]
        if len(parts) == len(kernel.nodes):
            found.append(_case(kernel, parts, regions[kernel.name], roofs, {**before.assumed, **before.bindings}))
    return found


def _case(kernel: Prediction, parts: Sequence[Prediction], region: Node, roofs: Roofs, bindings: Mapping[str, int]) -> FusionCase:
    spill = spilled_bytes(region, bindings) if roofs.engine.kind in ("cpu", "dsp", "mcu") and not kernel.macs else 0.0
    gain = roofline_gain(kernel, parts, roofs, spill)
    last = roofs.levels[-1]
    slow = spill / roofs.levels[0].bandwidth.value
    longest = max(parts, key=lambda p: p.seconds[1])
    return FusionCase(
        kernel.name,
        kernel.nodes,
        sum(p.flops for p in parts),
        tuple(p.flops / p.bytes if p.bytes else 0.0 for p in parts),
        _ratio(sum(p.flops for p in parts), gain.bytes_before),
        _ratio(kernel.flops, gain.bytes_after),
        ridge_point(attained_peak(roofs, kernel), last.bandwidth.value),
        gain.bytes_before,
        gain.bytes_after,
        _weight_bytes(region),
        spill,
        gain.seconds_before,
        gain.seconds_after,
        sum(p.seconds[1] for p in parts),
        kernel.seconds[1] + slow,
        longest.bound,
        kernel.bound,
    )


def roofline_gain(kernel: Prediction, parts: Sequence[Prediction], roofs: Roofs, spill: float = 0.0) -> FusionGain:
    """The plain roofline of fusion, every operand from the last memory level: arithmetic is counted in seconds at each piece's own peak."""
    before = sum(p.bytes for p in parts)
    inner = before - kernel.bytes
    pieces = [Piece(p.flops / attained_peak(roofs, p), p.bytes, inner * p.bytes / before if before else 0.0) for p in parts]
    return fusion_gain(pieces, 1.0, roofs.levels[-1].bandwidth.value, roofs.engine.dispatch_s.value, spill)


def spilled_bytes(region: Node, bindings: Mapping[str, int]) -> float:
    """Bytes that a fused chain writes and reads because more intermediates are alive at a time than there are registers."""
    body = region.regions[0]
    order = list(body)
    last = {value: i for i, node in enumerate(order) for value in node.inputs if value is not None and value.data is None}
    alive, most = set(), 0
    for position, node in enumerate(order):
        alive |= set(node.inputs) & set(last)
        alive |= set(node.outputs)
        most = max(most, len(alive))
        alive = {v for v in alive if last.get(v, -1) > position or v in body.outputs}
    excess = max(most - REGISTERS, 0)
    return 2.0 * excess * _bytes(region, bindings)


def _bytes(region: Node, bindings: Mapping[str, int]) -> float:
    from ...ir.dims import Expr, substitute
    from ..memory import type_bytes

    size = type_bytes(region.output.type)
    size = substitute(size, dict(bindings)) if isinstance(size, Expr) else size
    return float(size) if isinstance(size, int) else 0.0


def _weight_bytes(region: Node) -> float:
    held = {id(v.data): v.data.nbytes for n in region.regions[0] for v in n.inputs if v is not None and v.data is not None}
    return float(sum(held.values()))


def _ratio(flops: float, moved: float) -> float:
    return flops / moved if moved else 0.0
