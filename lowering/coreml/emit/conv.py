"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.conv import Conv, ConvTranspose
from ....ir.ops.windows import per_axis, resolved_pads
from ..versions import Release
from .context import Emission
from .translation import Obstacle, every, translates


def _geometry(node: Node) -> Obstacle | None:
    x, w, op = node.inputs[0], node.inputs[1], node.op
    assert x is not None and w is not None and isinstance(op, Conv | ConvTranspose)
    if w.tensor.static_shape is None:
        return Obstacle("dynamic-shape", "the size of the kernel is not known")
    if x.shape is None or not 3 <= len(x.shape) <= 5:
        return Obstacle("rank", "MIL convolves over one to three spatial dimensions")
    if op.auto_pad in ("SAME_UPPER", "SAME_LOWER") and not (_sized(node) or op.auto_pad == "SAME_UPPER" and isinstance(op, Conv)):
        return Obstacle("dynamic-shape", f"auto_pad={op.auto_pad} needs known sizes")
    if not isinstance(x.shape[1], int):
        return Obstacle("dynamic-shape", "the number of channels is not known")
    return None


def _sized(node: Node) -> bool:
    """Whether the spatial sizes of the operand are known."""
    return all(isinstance(d, int) for d in node.inputs[0].shape[2:])  # type: ignore[union-attr,index]


def _constant_weights(node: Node) -> Obstacle | None:
    for index in (1, 2):
        value = node.operand(index)
        if value is not None and not _is_weight(value):
            return Obstacle("dynamic-parameter", "weights computed at run time need iOS17")
    return None


def _is_weight(value: Any) -> bool:
    if value.data is not None:
        return True
    producer = value.producer
    if producer is not None and producer.op.op_name == "ConstantOfShape":
        return bool(value.tensor.is_static)
    return (
        producer is not None and producer.op.op_name == "DequantizeLinear" and all(v is None or v.data is not None for v in producer.inputs)
    )


def _mil_pads(pads: tuple[int, ...]) -> list[int]:
    """ONNX's begins and ends as MIL's pairs."""
    half = len(pads) // 2
    return [p for i in range(half) for p in (pads[i], pads[i + half])]


@translates(Conv, when=every(_geometry, _constant_weights))
@translates(Conv, when=_geometry, since=Release.IOS17)
def conv(e: Emission, node: Node) -> None:
    """Convolution over one to three dimensions; negative pads crop first. Pads that depend on unknown sizes are left to MIL."""
    op, x, w = node.op, e.required(node, 0), e.required(node, 1)
    assert isinstance(op, Conv) and x.shape is not None and w.shape is not None
    rank = len(x.shape) - 2
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    same = op.auto_pad == "SAME_UPPER" and not _sized(node)
    pads = (0,) * (2 * rank) if same else resolved_pads(x.shape[2:], w.shape[2:], strides, dilations, op.pads, op.auto_pad)
    operand = e.operand(node)
    if min(pads, default=0) < 0:
        operand, pads = _cropped(e, operand, pads, rank)
    e.bind(
        node,
        e.mil.conv(
            x=operand,
            weight=e.weight(node, 1),
            bias=e.operand(node, 2),
            strides=list(strides),
            pad_type="same" if same else "custom",
            pad=None if same else _mil_pads(pads),
            dilations=list(dilations),
            groups=op.group,
        ),
    )


def _cropped(e: Emission, operand: Any, pads: tuple[int, ...], rank: int) -> tuple[Any, tuple[int, ...]]:
    begin = [0, 0, *(max(-p, 0) for p in pads[:rank])]
    end = [0, 0, *(min(p, 0) for p in pads[rank:])]
    mask = [True, True, *(p >= 0 for p in pads[rank:])]
    cropped = e.mil.slice_by_index(x=operand, begin=begin, end=end, end_mask=mask)
    return cropped, tuple(max(p, 0) for p in pads)


def _transposed(node: Node) -> Obstacle | None:
    x, op = node.inputs[0], node.op
    assert x is not None and isinstance(op, ConvTranspose)
    if not _sized(node) and (op.output_shape or op.auto_pad in ("SAME_UPPER", "SAME_LOWER")):
        return Obstacle("dynamic-shape", "pads that follow from the size of the result need known sizes")
    _, pads = op._geometry(x.shape[2:], node.inputs[1].shape[2:])  # type: ignore[index,union-attr]
    if min(pads) < 0:
        return Obstacle("attribute", "MIL has no negative pads")
    return None


@translates(ConvTranspose, when=every(_geometry, _constant_weights, _transposed), level="decomposed")
@translates(ConvTranspose, when=every(_geometry, _transposed), level="decomposed", since=Release.IOS17)
def conv_transpose(e: Emission, node: Node) -> None:
    """The transposed convolution without pads, cut to what the pads leave; output_padding beyond the full extent is zero plus bias."""
    op, x, w = node.op, e.required(node, 0), e.required(node, 1)
    assert isinstance(op, ConvTranspose) and x.shape is not None and w.shape is not None
    rank = len(x.shape) - 2
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    spatial, pads = op._geometry(x.shape[2:], w.shape[2:])
    if _sized(node):
        full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)]
        ends = [f - b - n for f, b, n in zip(full, pads[:rank], spatial, strict=True)]  # what is cut at the end; negative: missing
    else:
        ends = [end - extra for end, extra in zip(pads[rank:], op.output_padding or (0,) * rank, strict=True)]
    common: dict[str, Any] = {"x": e.operand(node), "strides": list(strides), "dilations": list(dilations), "groups": op.group}
    common |= {"weight": e.weight(node, 1)}
    if min(ends) >= 0:
        cut = _mil_pads((*pads[:rank], *ends))
        e.bind(node, e.mil.conv_transpose(bias=e.operand(node, 2), pad_type="custom", pad=cut, **common))
        return
    cut = _mil_pads((*pads[:rank], *(max(end, 0) for end in ends)))
    result = e.mil.conv_transpose(pad_type="custom", pad=cut, **common)
    missing = [0, 0, 0, 0, *_mil_pads((*(0,) * rank, *(max(-end, 0) for end in ends)))]
    result = pad_zeros(e, result, missing)
    if node.operand(2) is not None:
        bias = e.operand(node, 2)
        shape = [1, -1, *(1,) * rank]
        result = e.mil.add(x=result, y=e.mil.reshape(x=bias, shape=shape))
    e.bind(node, result)


def pad_zeros(e: Emission, x: Any, pads: list[int], value: float = 0.0) -> Any:
    """Constant padding, pairs for each axis; by concatenation where MIL would pad more than it admits."""
    return e.mil.pad(x=x, pad=np.array(pads, np.int32), mode="constant", constant_val=e.like(value, x))
