"""Sizes of matrix products, convolutions, attention and recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dims import Dim, product
from ..ir.graph import Node
from .attention import attention_shape
from .flops import WEIGHTS
from .geometry_parts import Geometry, attribute, is_fixed, shape_of
from .geometry_streams import moved
from .operators import BLOCKED

THIN = 4  # filters below which a product with the unfolded operand is bound by unfolding it
FEW = 8  # input channels below which such convolutions read the plain layout


def _operand_positions(name: str) -> tuple[int, int]:
    return (0, 3) if name in ("QLinearMatMul", "QGemm", "QLinearConv") else (0, 1)


def product_of_matrices(node: Node) -> Geometry | None:
    left_index, right_index = _operand_positions(node.op.op_name)
    right_value = node.operand(right_index)
    left, result = shape_of(node.operand(left_index)), node.output.shape
    if left is None or result is None or right_value is None or not left:
        return None
    transposed = bool(attribute(node, "transA", 0))
    depth = left[-2 if transposed and len(left) > 1 else -1]
    columns = result[-1] if result and (right_value.rank is None or right_value.rank > 1) else 1
    fixed = is_fixed(right_value)
    rank = right_value.rank
    total = product(result)
    if rank is not None and rank <= 2:
        batch: Dim = 1
        rows = product(result[:-1]) if rank == 2 and len(left) > 1 else 1 if len(left) < 2 else total
    else:
        batch, rows = product(result[:-2]), result[-2] if len(result) > 1 else 1
    if node.op.op_name in ("MatMulNBits", "MatMulBnb4"):
        batch, rows = 1, product(result[:-1])
    kernel = "gemv" if rows == 1 or columns == 1 else "gemm"
    return Geometry(kernel, {"batch": batch, "m": rows, "n": columns, "k": depth, "fixed": int(fixed)})


def einsum(node: Node) -> Geometry | None:
    """A contraction of two operands as a batched product; with one operand it moves or reduces."""
    terms, _, result_term = attribute(node, "equation", "").replace(" ", "").partition("->")
    labels = terms.split(",")
    shapes = [shape_of(node.operand(i)) for i in range(len(labels))]
    if any(s is None for s in shapes) or "." in terms or len(labels) != 2:
        return moved(node) if len(labels) == 1 else None
    if not result_term:
        joined = "".join(labels)
        result_term = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    sizes = {c: d for term, shape in zip(labels, shapes, strict=True) for c, d in zip(term, shape or (), strict=True)}

    def size(chosen: list[str]) -> Dim:
        return product([sizes[c] for c in chosen])

    both = [c for c in labels[0] if c in labels[1]]
    batch, depth = size([c for c in both if c in result_term]), size([c for c in both if c not in result_term])
    rows, columns = size([c for c in labels[0] if c not in both]), size([c for c in labels[1] if c not in both])
    right = node.operand(1)
    sizes_found = {"batch": batch, "m": rows, "n": columns, "k": depth, "fixed": int(right is not None and is_fixed(right))}
    return Geometry("gemv" if rows == 1 or columns == 1 else "gemm", sizes_found)


def convolution(node: Node, im2col: bool) -> Geometry | None:
    name = node.op.op_name
    last = name.startswith("ChannelsLast") or bool(attribute(node, "channels_last", 0))
    data, weight, result = shape_of(node.operand(0)), shape_of(node.operand(_operand_positions(name)[1])), node.output.shape
    if data is None or weight is None or result is None or len(result) < 3:
        return None
    groups = attribute(node, "group", 1)
    channels, filters = (data[-1], result[-1]) if last else (data[1], result[1])
    area, positions = (data[1:-1], result[1:-1]) if last else (data[2:], result[2:])
    taps = product(weight[2:]) if len(weight) > 2 else 1
    strides = attribute(node, "strides") or ()
    if "Transpose" in name:  # the operand is what the kernel slides over
        area, positions = positions, area
    per_group_in, per_group_out = channels // groups, filters // groups
    sizes: dict[str, Dim] = {
        "batch": data[0], "groups": groups, "inputs": per_group_in, "outputs": per_group_out, "positions": product(positions),
        "area": product(area), "taps": taps, "width": positions[-1], "stride": product(tuple(strides)),
        **_borders(node, weight[2:], strides, positions), "activated": product(result) * _activation_weight(node), "slides": 0,
        "tail": 0,
    }  # fmt: skip
    if groups != 1:
        kernel = "conv-depthwise" if per_group_in == 1 else "conv-grouped"
    else:
        kernel = "conv-im2col" if im2col and taps != 1 and node.op.domain != BLOCKED else "conv-direct"
    form = "pointwise" if taps == 1 else "transposed" if "Transpose" in name else ""
    gathered = "strided" if strides and strides[-1] != 1 else ""  # single elements are unfolded, not rows
    if kernel == "conv-depthwise" and node.op.domain != BLOCKED and not last:
        form = "-".join(part for part in ("" if taps == 9 else "wide", gathered) if part)
    elif kernel == "conv-direct" and not form and node.op.domain != BLOCKED and not last:
        form = "thin" if type(per_group_out) is int and per_group_out < THIN else gathered
    layout = "blocked" if node.op.domain == BLOCKED else "last" if last else ""
    flat = positions[-1] == 1 and not any(attribute(node, "pads") or ())
    if layout == "blocked" and (flat or taps == 1 and sizes["stride"] == 1):
        sizes["width"] = sizes["positions"]  # a column, or an image without neighbourhoods, is computed as one row
    if kernel == "conv-direct" and sizes["positions"] == 1:
        form = "single"
    if layout == "blocked" and kernel == "conv-direct" and type(per_group_in) is int and per_group_in < FEW:
        form = "few"
    return Geometry(kernel, sizes, "-".join(part for part in (layout, form) if part))


def _borders(node: Node, kernel: Sequence[Any], strides: Sequence[int], positions: Sequence[Dim]) -> dict[str, Dim]:
    """What the padding does: ``edge`` positions of a row see it from the sides, ``skipped`` or ``outside`` taps from above."""
    pads, rank = list(attribute(node, "pads") or ()), len(kernel)
    if len(pads) != 2 * rank or rank != 2 or "Transpose" in node.op.op_name or not all(type(k) is int for k in kernel):
        return {"edge": 0, "skipped": 0, "outside": 0}
    down, across = (strides[0], strides[1]) if len(strides) == 2 else (1, 1)
    edge = -(-pads[1] // across) + -(-pads[3] // across)
    rows = sum(max(0, pad - i * down) for pad in (pads[0], pads[2]) for i in range(pad))
    width = positions[-1]
    taps = rows * kernel[1] * width
    if node.op.domain != BLOCKED:
        return {"edge": 0, "skipped": 0, "outside": taps}
    return {"edge": min(edge, width) if type(width) is int else edge, "skipped": taps, "outside": 0}


def _activation_weight(node: Node) -> int:
    name = attribute(node, "activation") or ""
    return 0 if name in ("", "none", "Relu") else WEIGHTS.get(name, 1)


def attention(node: Node) -> Geometry | None:
    found = attention_shape(node)
    if found is None:
        return None
    sizes = {"batch": found.batch, "heads": found.heads, "shared": found.shared, "queries": found.queries, "keys": found.keys,
             "size": found.size, "value_size": found.value_size, "projection": found.projection}  # fmt: skip
    return Geometry("attention", sizes, "" if node.op.domain else "standard")  # ONNX's own operator has a kernel of its own


def recurrent(node: Node) -> Geometry | None:
    data, weight, recurrent = (shape_of(node.operand(i)) for i in range(3))
    if data is None or weight is None or recurrent is None:
        return None
    gates = weight[0] * (weight[2] if node.op.op_name.startswith("Dynamic") else weight[1])
    inputs, hidden = data[2], recurrent[1 if node.op.op_name.startswith("Dynamic") else 2]
    sizes = {"steps": data[0], "batch": data[1], "gates": gates, "inputs": inputs, "hidden": hidden}
    return Geometry("recurrent", sizes, node.op.op_name.lower())
