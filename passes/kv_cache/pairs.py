"""Which output returns which input with new positions appended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.dims import Dim, Expr
from ...ir.graph import Graph, Node, Value
from ...ir.ops.attention import Attention
from ...ir.ops.concat import Concat
from ...ir.ops.microsoft_grouped import GroupQueryAttention
from ...ir.ops.transpose import Transpose
from ...ir.ops.unary import Identity

PAST_OPERANDS = {Attention: (4, 5), GroupQueryAttention: (3, 4)}
"""Operators that append to a cache themselves: the operands with what came before; the results 1 and 2 are the extended caches."""


@dataclass(frozen=True)
class Pair:
    """An input with earlier positions and the output with these and the new ones.

    Attributes:
        past: the graph input.
        output: the position of the output among those of the graph.
        axis: the axis of the positions, of both.
        node: what appends: a Concat, or an operator of `PAST_OPERANDS`.
        symbol: the name of the number of earlier positions.
        total: the number of positions afterwards; None when inference does not know it.
    """

    past: Value
    output: int
    axis: int
    node: Node
    symbol: str
    total: Dim | None


def find_pairs(graph: Graph) -> list[Pair]:
    """The pairs of a graph in the order of its outputs: proven by the way from the output to the input, whatever their names are."""
    found: list[Pair] = []
    for index, value in enumerate(graph.outputs):
        pair = _pair(index, value)
        if pair is not None and all(pair.past is not other.past for other in found):
            found.append(pair)
    return found


def _pair(index: int, output: Value) -> Pair | None:
    if output.rank is None:
        return None
    value, axes = _unmoved(output, list(range(output.rank)))
    node = value.producer
    if node is None:
        return None
    if isinstance(node.op, Concat) and len(node.inputs) == 2:
        axis, source = node.op.axis % output.rank, node.inputs[0]
    elif type(node.op) in PAST_OPERANDS and value.index in (1, 2):
        axis, source = 2, node.operand(PAST_OPERANDS[type(node.op)][value.index - 1])
    else:
        return None
    if source is None or source.rank != output.rank:
        return None
    past, axes = _unmoved(source, axes)
    if not past.is_input or axes != list(range(output.rank)) or past.shape is None:
        return None
    outer = _unmoved_axis(output, axis)
    dim = past.shape[outer]
    name = dim.symbol_name if isinstance(dim, Expr) else None
    total = output.shape[outer] if output.shape is not None else None
    return Pair(past, index, outer, node, name, total) if name is not None else None


def _unmoved(value: Value, axes: Sequence[int]) -> tuple[Value, list[int]]:
    """What a value was before its dimensions were reordered, and which of its axes each of ``axes`` is."""
    places = list(axes)
    while value.producer is not None and isinstance(value.producer.op, Transpose | Identity):
        node = value.producer
        assert node.inputs[0] is not None
        if isinstance(node.op, Transpose):
            perm = node.op.perm or tuple(reversed(range(len(places))))
            places = [perm[place] for place in places]
        value = node.inputs[0]
    return value, places


def _unmoved_axis(output: Value, axis: int) -> int:
    """The axis of an output that is the axis ``axis`` of what it was before its dimensions were reordered."""
    assert output.rank is not None
    return _unmoved(output, range(output.rank))[1].index(axis)
