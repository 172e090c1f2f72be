"""Folds constant factors and summands per channel into the batch normalisation before them."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops.binary import Add, Div, Mul, Sub
from ..ir.ops.normalization import BatchNormalization
from .algebra import exclusive
from .channel_parameters import Array, fits
from .fold_batch_norm import SCALE_BIAS
from .rewriter import Decline, Result, Rewriter, rewrites_op


def _channel_constant(constant: Value, normed: Value) -> Array | None:
    """A constant as one number per channel (axis 1) of a value, None when it varies otherwise."""
    if constant.data is None or normed.shape is None or len(normed.shape) < 2 or not constant.data.dtype.is_float:
        return None
    shape, channels = constant.data.shape, normed.shape[1]
    if len(shape) > len(normed.shape) or not isinstance(channels, int):
        return None
    aligned = (1,) * (len(normed.shape) - len(shape)) + tuple(shape)
    if aligned[1] not in (1, channels) or any(d != 1 for i, d in enumerate(aligned) if i != 1):
        return None
    return np.broadcast_to(constant.data.numpy().astype(np.float64).reshape(-1), (channels,))


def _normalised(node: Node) -> tuple[Node, Value, int] | None:
    """An exclusive batch normalisation among two operands, the constant other one, and the former's position."""
    for index in (0, 1):
        value, other = node.inputs[index], node.inputs[1 - index]
        norm = value.producer if value is not None else None
        if norm is None or value is None or other is None or other.data is None:
            continue
        if isinstance(norm.op, BatchNormalization) and not norm.op.training_mode and exclusive(value, node):
            return norm, other, index
    return None


@rewrites_op(Mul, Div, Add, Sub, name="fold-into-batch-norm", group=SCALE_BIAS)
def fold_into_batch_norm(node: Node, b: Rewriter) -> Result:
    """bn(x; s, b) · c = bn(x; s·c, b·c) and bn(x; s, b) + c = bn(x; s, b + c)."""
    found = _normalised(node)
    if found is None or isinstance(node.op, Div | Sub) and found[2] == 1:
        return None
    norm, other, _ = found
    scale, bias = norm.inputs[1], norm.inputs[2]
    if scale is None or bias is None or scale.data is None or bias.data is None:
        return Decline("scale and bias of the normalisation are not constant", norm)
    constant = _channel_constant(other, norm.output)
    if constant is None:
        return Decline("the constant is not one number per channel", node)
    factors, offsets = scale.data.numpy().astype(np.float64), bias.data.numpy().astype(np.float64)
    if isinstance(node.op, Mul | Div):
        if isinstance(node.op, Div) and not constant.all():
            return Decline("division by zero", node)
        change = constant if isinstance(node.op, Mul) else 1 / constant
        factors, offsets = factors * change, offsets * change
    else:
        offsets = offsets + constant if isinstance(node.op, Add) else offsets - constant
    held = [(p, v.data.dtype.numpy) for p, v in ((factors, scale), (offsets, bias)) if v.data is not None]
    if not all(fits(array, dtype) for array, dtype in held):
        return Decline("the folded parameters overflow", norm)
    b.credit(norm)
    parameters = [b.constant(array.astype(dtype)) for array, dtype in held]
    return b.add(norm.op, norm.inputs[0], *parameters, *norm.inputs[3:], outputs=1)
