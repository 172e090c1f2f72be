"""Masks of attention: which ones the operator takes, and how they are spelled."""

from __future__ import annotations

import math

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.attention import Attention
from ..ir.ops.binary import Mul
from ..ir.ops.concat import Concat
from ..ir.ops.logical import Where
from ..ir.ops.reshape import Expand, Reshape, Shape, Squeeze, Unsqueeze
from ..ir.types import TensorType
from .algebra import scalar
from .rewriter import Result, Rewriter, rewrites_op

GROUP = "recognize-attention"
LOWEST = float(np.finfo(np.float32).min)
PENALTY = -1e30
"""Absorbs every score and weighs nothing beside an allowed key, as `LOWEST` does."""
FORMS = (Expand, Reshape, Squeeze, Unsqueeze)


def mask_problem(mask: Value, weights: Value) -> str | None:
    """Why a summand of the scores is not a mask that the operator takes."""
    if not isinstance(mask.type, TensorType) or mask.type.shape is None or weights.shape is None:
        return "the mask's shape is unknown"
    if mask.type.dtype is not weights.dtype:
        return "the mask has another element type than the scores"
    if len(mask.type.shape) > 4:
        return "the mask has more than four dimensions"
    last = mask.type.shape[-1] if mask.type.shape else 1
    return None if last == weights.shape[-1] else "the mask does not span the keys"


def for_every_query(mask: Value, query: Value, b: Rewriter) -> Value:
    """A mask that names every query: kernels broadcast it over batch and heads only."""
    assert mask.shape is not None and query.shape is not None
    tokens = query.shape[2]
    if len(mask.shape) >= 2 and mask.shape[-2] == tokens:
        return mask
    lead = (1,) * (len(mask.shape) - 2)
    if isinstance(tokens, int):
        return b.add(Expand(), mask, b.ints((*lead, tokens, 1)))
    rows = [b.ints(lead)] if lead else []
    return b.add(Expand(), mask, b.add(Concat(axis=0), *rows, b.add(Shape(start=2, end=3), query), b.ints((1,))))


@rewrites_op(Attention, name="boolean-attention-mask", group=GROUP)
def boolean_mask(node: Node, b: Rewriter) -> Result:
    """A mask ``Where(allowed, 0, −∞)`` is the boolean mask ``allowed``.

    A finite low number is not: where every key of a query is masked, as in padding, it gives all keys the same weight.
    """
    mask = node.operand(3)
    spread = mask.producer if mask is not None else None
    if spread is not None and isinstance(spread.op, Expand):
        mask = spread.inputs[0]
    else:
        spread = None
    where = mask.producer if mask is not None else None
    if where is None or not isinstance(where.op, Where) or mask is None:
        return None
    allowed, kept, dropped = where.inputs
    low = scalar(dropped)
    if allowed is None or scalar(kept) != 0.0 or low != -math.inf or allowed.shape != mask.shape:
        return None
    b.credit(where)
    operands = list(node.inputs)
    operands[3] = allowed if spread is None else b.add(Expand(), allowed, spread.inputs[1])
    return b.add(node.op, *operands, outputs=1)


# ONNX Runtime's Attention takes the lowest float32 for −∞, so that a query without any allowed key gets zeros in place of the mean of all
# values. Another number as low does not run into that.
@rewrites_op(Where, Mul, name="finite-attention-penalty", group=GROUP)
def finite_penalty(node: Node, b: Rewriter) -> Result:
    """The lowest float32 as penalty of masks of attention is −1e30, which means the same."""
    places = [i for i, v in enumerate(node.inputs) if v is not None and v.dtype is DType.FLOAT and scalar(v) == LOWEST]
    if len(places) != 1 or isinstance(node.op, Where) and places == [0] or not _masks_only(node.output):
        return None
    if isinstance(node.op, Where) and scalar(node.inputs[3 - places[0]]) != 0.0:
        return None
    operands = list(node.inputs)
    operands[places[0]] = b.constant(np.float32(PENALTY))
    return b.add(node.op, *operands)


@rewrites_op(Attention, name="finite-attention-mask", group=GROUP)
def finite_mask(node: Node, b: Rewriter) -> Result:
    """The lowest float32 in a constant mask is −1e30, which means the same."""
    mask = node.operand(3)
    if mask is None or mask.data is None or mask.dtype is not DType.FLOAT:
        return None
    numbers = mask.data.numpy()
    if not np.any(numbers == np.float32(LOWEST)):
        return None
    operands = list(node.inputs)
    operands[3] = b.constant(np.where(numbers == np.float32(LOWEST), np.float32(PENALTY), numbers))
    return b.add(node.op, *operands, outputs=len(node.outputs))


def _masks_only(value: Value) -> bool:
    """Whether attention, as its mask, is all that reads a value."""
    for user, index in value.uses:
        if not isinstance(user, Node):
            return False
        if isinstance(user.op, Attention) and index == 3:
            continue
        if not isinstance(user.op, FORMS) or index != 0 or not _masks_only(user.output):
            return False
    return bool(value.uses)
