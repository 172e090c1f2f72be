"""Memory: bytes of values and the peak of live activations, as expressions over the symbolic dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.dims import Dim, Expr, bounds, ceildiv, maximum
from ..ir.graph import Graph, Node, Value
from ..ir.types import OptionalType, TensorType, Type

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")  # runtimes let these share the operand's buffer
MAX_ALTERNATIVES = 8  # of a symbolic maximum; more are not readable


def type_bytes(type_: Type) -> Dim | None:
    """The size of a value of this type in bytes; None for texts, sequences and unknown shapes."""
    if isinstance(type_, OptionalType):
        return type_bytes(type_.element)
    if not isinstance(type_, TensorType) or not type_.dtype.bits:
        return None
    elements = type_.elements
    if elements is None:
        return None
    bits = type_.dtype.bits
    return elements * (bits // 8) if bits % 8 == 0 else ceildiv(elements * bits, 8)


@dataclass(frozen=True)
class Peak:
    """The greatest sum of the sizes of values that are alive at the same time.

    Attributes:
        moments: sums that no other sum exceeds for all sizes, with the nodes that run at those moments (the largest first where
            that is known). One of them is the peak.
        unknown: names of values whose size is not known; they are not counted.
    """

    moments: tuple[tuple[Dim, str], ...]
    unknown: tuple[str, ...]

    @property
    def bytes(self) -> Dim:
        """The peak as an expression."""
        return maximum(*(size for size, _ in self.moments)) if self.moments else 0

    @property
    def readable(self) -> bool:
        """Whether the expression has few enough alternatives to be printed."""
        return len(self.moments) <= MAX_ALTERNATIVES

    def within(self, ranges: Mapping[str, tuple[int, int]]) -> tuple[float, float]:
        """The least and greatest peak when the symbols lie in the given inclusive ranges."""
        limits = [bounds(size, ranges) for size, _ in self.moments]
        return max((low for low, _ in limits), default=0), max((high for _, high in limits), default=0)


def peak_memory(graph: Graph) -> Peak:
    """The peak of activations when the nodes run in their order.

    Inputs live until their last use, outputs until the end; constants are not counted. Results of `VIEWS` share their operand's buffer.
    The values inside of a region live while its node runs.
    """
    unknown: dict[str, None] = {}
    sums = _timeline(graph, unknown)
    return Peak(tuple(_survivors(sums)), tuple(unknown))


def _timeline(graph: Graph, unknown: dict[str, None]) -> list[tuple[Dim, str]]:
    position = {node: index for index, node in enumerate(graph)}
    buffers = _buffers(graph)
    ends: dict[Value, int] = {}
    births: dict[Value, int] = {}
    for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        buffer = buffers.get(value, value)
        births.setdefault(buffer, position[value.producer] if value.producer is not None else 0)
        ends[buffer] = max(ends.get(buffer, 0), _last_use(value, graph, position))
    changes: list[Dim] = [0] * (len(position) + 2)
    for buffer, birth in births.items():
        size = 0 if buffer.is_constant else type_bytes(buffer.type)
        if size is None:
            unknown[buffer.name] = None
            continue
        changes[birth] = changes[birth] + size
        changes[ends[buffer] + 1] = changes[ends[buffer] + 1] - size
    live: Dim = changes[0] if not position else 0
    sums: list[tuple[Dim, str]] = [] if position else [(live, "")]
    for node, index in position.items():
        live = live + changes[index]
        inside = [maximum(*(s for s, _ in _survivors(_timeline(r, unknown)))) for r in node.regions]
        sums.append((live + maximum(*inside) if inside else live, node.where))
    return sums


def _buffers(graph: Graph) -> dict[Value, Value]:
    """Views with the value whose buffer they share."""
    buffers: dict[Value, Value] = {}
    for node in graph:
        operand = node.operand(0)
        if node.op.op_name in VIEWS and not node.op.domain and operand is not None:
            owner = operand.producer.graph if operand.producer is not None else operand.graph
            if owner is graph or operand.is_constant:
                buffers[node.output] = buffers.get(operand, operand)
    return buffers


def _last_use(value: Value, graph: Graph, position: Mapping[Node, int]) -> int:
    last = position[value.producer] if value.producer is not None else 0
    for user, _ in value.uses:
        if isinstance(user, Graph):
            if user is graph:
                return max(len(position) - 1, 0)
            holder = user.parent
        else:
            holder = user
        while holder is not None and holder not in position:
            holder = holder.graph.parent if holder.graph is not None else None
        if holder is not None:
            last = max(last, position[holder])
    return last


def _survivors(sums: Iterable[tuple[Dim, str]]) -> list[tuple[Dim, str]]:
    """The sums that are not below another one for all sizes."""
    first: dict[Dim, str] = {}
    for size, where in sums:
        first.setdefault(size, where)
    candidates = sorted(first.items(), key=lambda item: -_typical(item[0]))
    kept: list[tuple[Dim, str]] = []
    for size, where in candidates:
        if not any(_at_least(other, size) for other, _ in kept):
            kept.append((size, where))
    return kept


def _typical(size: Dim) -> float:
    """The most that the size can be when every symbol is 64: a total order that agrees with domination."""
    if not isinstance(size, Expr):
        return size
    return size.bounds(dict.fromkeys(size.symbols(), (64, 64)))[1]


def _at_least(left: Dim, right: Dim) -> bool:
    difference = left - right
    if not isinstance(difference, Expr):
        return difference >= 0
    return difference.bounds(dict.fromkeys(difference.symbols(), (1, 1 << 40)))[0] >= 0
