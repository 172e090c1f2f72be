"""The key-value cache: what attention keeps from one step of decoding to the next."""

from __future__ import annotations

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from .geometry_parts import is_view
from .operators import ATTENTIONS
from .precision import Precision, precision_of


def cache_values(graph: Graph) -> list[Value]:
    """The values that hold cached keys or values after a run: results of attention operators that follow a past operand, and results of
    a concatenation along a growing axis of a graph input, that the graph returns.
    """
    found: dict[Value, None] = {}
    returned = set(graph.outputs)
    for node in graph.walk():
        if node.op.op_name in ATTENTIONS:
            found.update((v, None) for v in node.outputs[1:3] if v in returned)
        elif node.op.op_name == "Concat" and _appends(node):
            found.update((v, None) for v in _views(node.output) if v in returned)
    return list(found)


def cache_bytes(graph: Graph, precision: str | Precision = "native") -> Dim:
    """Bytes of the cache after one run."""
    chosen = precision_of(precision)
    total: Dim = 0
    for value in cache_values(graph):
        size = chosen.bytes(value.type)
        total = total if size is None else total + size
    return total


def _appends(node: Node) -> bool:
    """Whether a graph input grows along the axis of the concatenation."""
    axis = dict(node.op.attributes()).get("axis", 0)
    for value in node.inputs:
        while value is not None and value.producer is not None and is_view(value.producer):
            value = value.producer.operand(0)
        if value is None or not value.is_input or value.shape is None or value.rank is None or value.rank < 3:
            continue
        if -value.rank <= axis < value.rank and not isinstance(value.shape[axis], int):
            return True
    return False


def _views(value: Value) -> list[Value]:
    """The value and what views make of it."""
    found = [value]
    for user in value.users():
        if is_view(user):
            found += _views(user.output)
    return found
