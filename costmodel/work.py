"""Work: multiply-accumulate operations per node, as expressions over the symbolic dimensions.

Only contractions are counted (convolutions, matrix products, attention, recurrences); everything else has no MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..ir.dims import Dim, maximum, product, symbol
from ..ir.graph import Graph, Node
from ..ir.op import EDGEC, MICROSOFT, Opaque

Formula = Callable[[Node], "Dim | None"]
Combination = Callable[[Node, "list[Dim]"], "Dim | None"]
MACS: dict[tuple[str, str], Formula] = {}
COMBINATIONS: dict[tuple[str, str], Combination] = {}


@dataclass(frozen=True)
class Work:
    """The work of a graph.

    Attributes:
        macs: multiply-accumulates of all nodes whose work is known, those of regions included.
        unknown: the other nodes: opaque operators, and contractions of unknown shapes.
    """

    macs: Dim
    unknown: tuple[Node, ...]


def macs_of(*names: str, domain: str = "") -> Callable[[Formula], Formula]:
    """Register the formula of some operators. A formula gives None when a shape that it needs is not known."""

    def register(formula: Formula) -> Formula:
        for name in names:
            MACS[(domain, name)] = formula
        return formula

    return register


def combines(name: str, domain: str = "") -> Callable[[Combination], Combination]:
    """Register how an operator's work follows from that of its regions."""

    def register(combination: Combination) -> Combination:
        COMBINATIONS[(domain, name)] = combination
        return combination

    return register


def graph_work(graph: Graph) -> Work:
    """The work of a graph, and the nodes about which nothing is known."""
    unknown: list[Node] = []
    total = _graph(graph, unknown)
    return Work(total, tuple(unknown))


def node_macs(node: Node) -> Dim | None:
    """Multiply-accumulates of one node with its regions; None when they are not known."""
    unknown: list[Node] = []
    total = _node(node, unknown)
    return None if unknown else total


def _graph(graph: Graph, unknown: list[Node]) -> Dim:
    total: Dim = 0
    for node in graph:
        total = total + _node(node, unknown)
    return total


def _node(node: Node, unknown: list[Node]) -> Dim:
    key = (node.op.domain, node.op.op_name)
    if isinstance(node.op, Opaque):
        found: Dim | None = None
    elif key in MACS:
        found = MACS[key](node)
    else:
        inside = [_graph(region, unknown) for region in node.regions]
        combination = COMBINATIONS.get(key)
        found = combination(node, inside) if combination is not None else total_of(inside)
    if found is None:
        unknown.append(node)
        return 0
    return found


def total_of(parts: Iterable[Dim]) -> Dim:
    """The sum of sizes."""
    total: Dim = 0
    for part in parts:
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
@macs_of("ChannelsLastConv", domain=EDGEC)
@macs_of("Conv", domain="com.microsoft.nchwc")
def _conv(node: Node) -> Dim | None:
    return _convolution(node, 1)


@macs_of("QLinearConv")
@macs_of("QLinearConv", domain=MICROSOFT)
def _qlinear_conv(node: Node) -> Dim | None:
    return _convolution(node, 3)


@macs_of("DeformConv")
def _deform_conv(node: Node) -> Dim | None:
    return _convolution(node, 1)


@macs_of("ConvTranspose")
@macs_of("ChannelsLastConvTranspose", domain=EDGEC)
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
@macs_of("FusedGemm", "QGemm", domain=MICROSOFT)
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


@macs_of("Attention", "QAttention", domain=MICROSOFT)
def _fused_attention(node: Node) -> Dim | None:
    """The projection of the input to queries, keys and values, the scores and the weighted sum."""
    data, weight, result = _shape(node, 0), _shape(node, 1), node.output.shape
    if data is None or weight is None or result is None:
        return None
    past = _shape(node, 8 if node.op.op_name == "QAttention" else 4)
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
@combines("If")
def _if(node: Node, inside: list[Dim]) -> Dim | None:
    return maximum(*inside)


@combines("Loop")
def _loop(node: Node, inside: list[Dim]) -> Dim | None:
    """The body times the trip count; an unknown count is a symbol named after the node."""
    trips = node.operand(0)
    count = trips.content if trips is not None else None
    if count is not None and count[0] is not None:
        return inside[0] * count[0]
    return inside[0] * symbol(f"{node.name or node.output.name}.trips")


@combines("Scan")
def _scan(node: Node, inside: list[Dim]) -> Dim | None:
    """The body times the length of what is scanned."""
    scanned = _attribute(node, "num_scan_inputs", 1)
    shape = _shape(node, len(node.inputs) - scanned)
    axes = _attribute(node, "scan_input_axes", ()) or (0,)
    return None if shape is None else inside[0] * shape[axes[0]]
