"""How the loops of a model's largest kernels walk through memory: metrics of locality for the layouts that they may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...ir.dims import Expr, substitute
from ...ir.graph import Graph, Value
from ..locality import locality
from ..operators import CONVOLUTIONS, PRODUCTS
from ..prediction import GraphPrediction
from ..schedule import label

MOST = 5  # kernels of each kind
WINDOW = 128  # of each axis: longer walks look the same


def layout_locality(graph: Graph, prediction: GraphPrediction, element_bytes: int = 4) -> list[dict[str, Any]]:
    """Locality of the reduction of convolutions and products, the slowest first, in a window of `WINDOW` elements along every axis.

    For a convolution: the channels of one position, in NCHW and in NHWC. For a product: a column of the right operand as it lies
    (k rows of n) and transposed (n rows of k).

    Returns:
        ``node``, ``what``, ``layout`` and the fields of `Locality` for each.
    """
    seconds = {name: node.seconds[1] for node in prediction.nodes for name in node.nodes}
    values = {**prediction.assumed, **prediction.bindings}
    nodes = sorted((n for n in graph if label(n) in seconds), key=lambda n: (-seconds[label(n)], label(n)))
    found: list[dict[str, Any]] = []
    convolutions = [n for n in nodes if n.op.op_name in CONVOLUTIONS and not n.op.domain][:MOST]
    products = [n for n in nodes if n.op.op_name in PRODUCTS and not n.op.domain][:MOST]
    for node in convolutions:
        shape = _sizes(node.operand(0), values)
        if shape is None or len(shape) < 3 or node.op.op_name.startswith("ChannelsLast"):
            continue
        channels, *spatial = shape[1:]
        axes = len(spatial)
        first = locality((channels, *spatial), (*range(1, axes + 1), 0), element_bytes)
        last = locality((*spatial, channels), tuple(range(axes + 1)), element_bytes)
        found += [_entry(label(node), "channels of a position", name, one) for name, one in (("NCHW", first), ("NHWC", last))]
    for node in products:
        shape = _sizes(node.operand(1), values)
        if shape is None or len(shape) < 2:
            continue
        rows, columns = shape[-2:]
        plain, turned = locality((rows, columns), (1, 0), element_bytes), locality((columns, rows), (0, 1), element_bytes)
        found += [_entry(label(node), "a column of the right operand", name, one) for name, one in (("k x n", plain), ("n x k", turned))]
    return found


def _sizes(value: Value | None, values: Mapping[str, int]) -> tuple[int, ...] | None:
    if value is None or value.shape is None:
        return None
    found = [substitute(d, {s: values[s] for s in d.symbols() if s in values}) if isinstance(d, Expr) else d for d in value.shape]
    sizes = [d for d in found if isinstance(d, int) and d > 0]
    return tuple(min(d, WINDOW) for d in sizes) if len(sizes) == len(found) else None


def _entry(node: str, what: str, layout: str, one: Any) -> dict[str, Any]:
    return {"node": node, "what": what, "layout": layout, **asdict(one)}
