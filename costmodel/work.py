"""Work: multiply-accumulate operations per node, as expressions over the symbolic dimensions.

Only contractions are counted (convolutions, matrix products, attention, recurrences); everything else has no MACs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dims import Dim, maximum, product, symbol
from ..ir.graph import Graph, Node
from ..ir.op import EDGEC, MICROSOFT, Opaque

Formula = Callable[[Node], "Dim | None"]
MACS: dict[tuple[str, str], Formula] = {}


def macs_of(*names: str, domain: str = "") -> Callable[[Formula], Formula]:
    """Register the formula of some operators. A formula gives None when a shape that it needs is not known."""

    def register(formula: Formula) -> Formula:
        for name in names:
            MACS[(domain, name)] = formula
        return formula

    return register


def node_macs(node: Node) -> Dim | None:
    """Multiply-accumulates of one node with its regions; None when they are not known (opaque operators, unknown shapes)."""
    formula = MACS.get((node.op.domain, node.op.op_name))
    if formula is not None:
        return formula(node)
    if isinstance(node.op, Opaque):
        return None
    total: Dim = 0
    for region in node.regions:
        part = graph_macs(region)
        if part is None:
            return None
        total = total + part
    return total


def graph_macs(graph: Graph) -> Dim | None:
    """The sum over the nodes of a graph, None when one is not known."""
    total: Dim = 0
    for node in graph:
        part = node_macs(node)
        if part is None:
            return None
        total = total + part
    return total


def _shape(node: Node, index: int) -> tuple[Any, ...] | None:
    value = node.operand(index)
    return None if value is None else value.shape


def _attribute(node: Node, name: str, default: Any = None) -> Any:
    return dict(node.op.attributes()).get(name, default)


# -- convolutions ------------------------------------------------------------------------------------------------------
def _convolution(node: Node, weight_index: int) -> Dim | None:
    weight, result = _shape(node, weight_index), node.output.shape
    if weight is None or result is None:
        return None
    return product(result) * product(weight[1:])  # the weight's second dimension is already input channels per group


@macs_of("Conv", "ConvInteger")
@macs_of("FusedConv", domain=MICROSOFT)
def _conv(node: Node) -> Dim | None:
    return _convolution(node, 1)


@macs_of("QLinearConv")
def _qlinear_conv(node: Node) -> Dim | None:
    return _convolution(node, 3)


@macs_of("DeformConv")
def _deform_conv(node: Node) -> Dim | None:
    return _convolution(node, 1)


@macs_of("ConvTranspose")
def _conv_transpose(node: Node) -> Dim | None:
    data, weight = _shape(node, 0), _shape(node, 1)
    return None if data is None or weight is None else product(data) * product(weight[1:])


# -- matrix products ---------------------------------------------------------------------------------------------------
def _matrix_product(node: Node, left_index: int) -> Dim | None:
    left, result = _shape(node, left_index), node.output.shape
    return None if left is None or result is None else product(result) * left[-1]


@macs_of("MatMul", "MatMulInteger", "QLinearMatMul")
@macs_of("MatMulNBits", "MatMulBnb4", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", domain=MICROSOFT)
def _matmul(node: Node) -> Dim | None:
    return _matrix_product(node, 0)


@macs_of("FusedMatMul", domain=MICROSOFT)
def _fused_matmul(node: Node) -> Dim | None:
    left, result = _shape(node, 0), node.output.shape
    if left is None or result is None:
        return None
    return product(result) * left[-2 if _attribute(node, "transA") else -1]


@macs_of("Gemm")
@macs_of("FusedGemm", domain=MICROSOFT)
def _gemm(node: Node) -> Dim | None:
    left, result = _shape(node, 0), node.output.shape
    if left is None or result is None:
        return None
    return product(result) * left[0 if _attribute(node, "transA") else 1]


@macs_of("Einsum")
def _einsum(node: Node) -> Dim | None:
    """The product of the sizes of all labels, once for every operand after the first."""
    terms = _attribute(node, "equation", "").replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, Dim] = {}
    batch: list[Dim] = []
    for index, term in enumerate(terms):
        shape = _shape(node, index)
        if shape is None:
            return None
        before, dots, after = term.partition("...")
        labels = [*before, *after]
        free = shape[len(before) : len(shape) - len(after)] if dots else ()
        batch = list(free) if len(free) > len(batch) else batch
        named = (*shape[: len(before)], *shape[len(shape) - len(after) :]) if dots else shape
        for label, size in zip(labels, named, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
    return product((*sizes.values(), *batch)) * (len(terms) - 1)


# -- attention ---------------------------------------------------------------------------------------------------------
@macs_of("Attention")
def _attention(node: Node) -> Dim | None:
    """Scores and weighted sum. Operands are [batch, heads, length, size], or [batch, length, heads * size]."""
    query, key, value = (_shape(node, i) for i in range(3))
    if query is None or key is None or value is None:
        return None
    past = _shape(node, 4)
    length = key[-2] + (past[-2] if past is not None and len(past) == 4 else 0)
    if len(query) == 4:
        return query[0] * query[1] * query[2] * length * (query[3] + value[3])
    heads, shared = _attribute(node, "q_num_heads"), _attribute(node, "kv_num_heads")
    if not heads or not shared:
        return None
    return query[0] * query[1] * length * (query[2] + value[2] * heads // shared)


@macs_of("MultiHeadAttention", domain=MICROSOFT)
def _multi_head_attention(node: Node) -> Dim | None:
    query, key, value = (_shape(node, i) for i in range(3))
    if query is None or len(query) != 3 or (key is not None and len(key) != 3) or (key is None) != (value is None):
        return None
    if key is None or value is None:
        return None
    past = _shape(node, 6)
    length = key[1] + (past[-2] if past is not None else 0)
    return query[0] * query[1] * length * (query[2] + value[2])


@macs_of("GroupQueryAttention", domain=MICROSOFT)
def _group_query_attention(node: Node) -> Dim | None:
    query, present = _shape(node, 0), node.outputs[1].shape if len(node.outputs) > 1 else None
    heads = _attribute(node, "num_heads")
    if query is None or present is None or not heads:
        return None
    return query[0] * query[1] * present[2] * present[3] * heads * 2


@macs_of("Attention", domain=MICROSOFT)
def _fused_attention(node: Node) -> Dim | None:
    """The projection of the input to queries, keys and values, the scores and the weighted sum."""
    data, weight, result = _shape(node, 0), _shape(node, 1), node.output.shape
    if data is None or weight is None or result is None:
        return None
    past = _shape(node, 4)
    length = data[1] + (past[-2] if past is not None else 0)
    projection = data[0] * data[1] * product(weight)
    query_size = (weight[1] - result[2]) // 2  # queries and keys are equally wide, values give the result
    return projection + data[0] * data[1] * length * (query_size + result[2])


# -- recurrences -------------------------------------------------------------------------------------------------------
@macs_of("LSTM", "GRU", "RNN")
@macs_of("DynamicQuantizeLSTM", domain=MICROSOFT)
def _recurrence(node: Node) -> Dim | None:
    data, weight, recurrent = (_shape(node, i) for i in range(3))
    if data is None or weight is None or recurrent is None:
        return None
    return data[0] * data[1] * (product(weight) + product(recurrent))


# -- control flow ------------------------------------------------------------------------------------------------------
@macs_of("If")
def _if(node: Node) -> Dim | None:
    parts = [graph_macs(region) for region in node.regions]
    known = [p for p in parts if p is not None]
    return maximum(*known) if len(known) == len(parts) else None


@macs_of("Loop")
def _loop(node: Node) -> Dim | None:
    """The body times the trip count; an unknown count is a symbol named after the node."""
    body = graph_macs(node.regions[0])
    if body is None or body == 0:
        return body
    trips = node.operand(0)
    count = trips.content if trips is not None else None
    if count is not None and count[0] is not None:
        return body * count[0]
    return body * symbol(f"{node.name or node.output.name}.trips")


@macs_of("Scan")
def _scan(node: Node) -> Dim | None:
    body = graph_macs(node.regions[0])
    if body is None or body == 0:
        return body
    scanned = _attribute(node, "num_scan_inputs", 1)
    first = len(node.inputs) - scanned
    shape = _shape(node, first)
    axes = _attribute(node, "scan_input_axes", ()) or (0,)
    return None if shape is None else body * shape[axes[0]]


@macs_of("Region", domain=EDGEC)
def _region(node: Node) -> Dim | None:
    return graph_macs(node.regions[0]) if node.regions else 0
