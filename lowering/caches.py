"""Key-value caches of a fixed length, as several targets want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.diagnostics import Diagnostic
from ..ir.graph import Graph, Node, Value
from ..ir.ops.reshape import Expand, Reshape
from ..ir.ops.scatter import TensorScatter
from .backend import E_OPTION


def check_cache_length(length: Any) -> None:
    """`Diagnostic` E0506 for an impossible value of the option ``kv_cache``."""
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise Diagnostic(E_OPTION, f"kv_cache={length!r} is not a number of positions")


def cache_passes(options: Mapping[str, Any]) -> str:
    """What the option ``kv_cache`` adds to a pipeline, behind the portable passes."""
    length = options.get("kv_cache")
    return f"fix-kv-cache{{length={length}}}," if length is not None else ""


def cache_buffers(graph: Graph) -> dict[str, str]:
    """The inputs that an output of the graph returns with something written into them: input name to output name."""
    found = {}
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        node = value.producer
        source = node.inputs[0] if node is not None and isinstance(node.op, TensorScatter) else None
        if source is not None and source.is_input and source.name not in found:
            found[source.name] = name
    return found


def one_position(node: Node) -> Value | None:
    """Where a TensorScatter writes, as a value of one element, when that is the same for the whole batch; None when it is not."""
    cache, starts = node.inputs[0], node.operand(2)
    if starts is None or cache is None:
        return None
    if starts.shape == (1,) and cache.shape is not None and cache.shape[0] == 1:
        return starts
    producer = starts.producer
    while producer is not None and isinstance(producer.op, Expand | Reshape):
        source = producer.inputs[0]
        if source is None or source.shape in ((), (1,)):
            return source
        producer = source.producer
    return None
