"""Removal of nodes that hand an operand through unchanged.

All rules are exact for every input, not-a-number and infinities included, with one exception: adding a zero turns a negative zero
into a positive one, and removing the addition keeps the negative zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.activation import Clip, Relu
from ..ir.ops.binary import Add, Div, Max, Mean, Min, Mul, Pow, Sub, Sum
from ..ir.ops.cast import Cast, CastLike
from ..ir.ops.concat import Concat, Pad, Split
from ..ir.ops.logical import And, Or, Where, Xor
from ..ir.ops.optional import Optional, OptionalGetElement, OptionalHasElement
from ..ir.ops.pooling import AveragePool, MaxPool
from ..ir.ops.random import Dropout
from ..ir.ops.reshape import Expand, Flatten, Reshape, Squeeze, Tile, Unsqueeze
from ..ir.ops.resize import Resize
from ..ir.ops.slice import Slice
from ..ir.ops.transpose import Transpose
from ..ir.ops.unary import Abs, Ceil, Floor, Identity, Neg, Not, Round
from ..ir.types import OptionalType, UnknownType
from .driver import RulePass
from .rewriter import Decline, Result, Rewriter, rewrites_op
from .values import equals_everywhere, uniform_number

GROUP = "no-ops"


@dataclass(frozen=True)
class RemoveNoOps(RulePass):
    """Remove what changes nothing: identities, casts to the same type, neutral arithmetic, slices of everything, and so on."""

    name: ClassVar[str] = "remove-no-ops"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def same_shape(left: Value, right: Value) -> bool:
    """Whether two values provably have the same shape."""
    return left.shape is not None and left.shape == right.shape


def _same_type(left: Value, right: Value) -> bool:
    return left.dtype is right.dtype and same_shape(left, right)


@rewrites_op(Identity, name="remove-identity", group=GROUP)
def remove_identity(node: Node, b: Rewriter) -> Result:
    """Identity(x) is x."""
    return node.inputs[0]


@rewrites_op(OptionalGetElement, name="remove-optional", group=GROUP)
def remove_optional(node: Node, b: Rewriter) -> Result:
    """The element of what is no optional is that itself, the element of an optional made of a value is that value."""
    value = node.inputs[0]
    if value is None or isinstance(value.type, UnknownType):
        return None
    if not isinstance(value.type, OptionalType):
        return value
    maker = _producer(node, Optional)
    if maker is None or not maker.inputs or maker.inputs[0] is None:
        return None
    b.credit(maker)
    return maker.inputs[0]


@rewrites_op(OptionalHasElement, name="known-optional", group=GROUP)
def known_optional(node: Node, b: Rewriter) -> Result:
    """Whether an optional that is made here has an element."""
    maker = _producer(node, Optional) if node.inputs else None
    if maker is None:
        return None
    b.credit(maker)
    return b.constant(np.array(bool(maker.inputs) and maker.inputs[0] is not None))


@rewrites_op(Dropout, name="remove-dropout", group=GROUP)
def remove_dropout(node: Node, b: Rewriter) -> Result:
    """Dropout outside training hands its operand through; a node whose mask is used stays for the mask alone."""
    training = node.operand(2)
    if not node.outputs[0].uses:
        return None
    if training is not None and not equals_everywhere(training, 0):
        ratio = node.operand(1)
        if ratio is None or not equals_everywhere(ratio, 0):
            b.context.note("remove-no-ops", "drops elements at random: the model is in training mode", node.where)
            return Decline("training mode", node)
    return (node.inputs[0],)


@rewrites_op(Cast, CastLike, name="remove-cast", group=GROUP)
def remove_cast(node: Node, b: Rewriter) -> Result:
    """A cast to the type that the operand has."""
    value = node.inputs[0]
    return value if value is not None and value.dtype is node.output.dtype else None


@rewrites_op(Cast, name="merge-casts", group=GROUP)
def merge_casts(node: Node, b: Rewriter) -> Result:
    """Cast(Cast(x)) where the inner cast loses nothing is the outer cast alone."""
    inner = _producer(node, Cast)
    if inner is None:
        return None
    source = inner.inputs[0]
    assert source is not None
    first, second, third = source.dtype, inner.output.dtype, node.output.dtype
    if first is None or second is None or third is None or not is_lossless(first, second):
        return None
    if third is DType.STRING or (first.is_integer and first.bits > 16 and third in (DType.FLOAT16, DType.BFLOAT16)):
        return Decline("the direct cast may round differently", inner)
    b.credit(inner)
    return source if third is first else b.add(node.op, source)


_MANTISSA = {DType.FLOAT16: 11, DType.BFLOAT16: 8, DType.FLOAT: 24, DType.DOUBLE: 53}
_WIDER = {
    DType.FLOAT16: (DType.FLOAT, DType.DOUBLE),
    DType.BFLOAT16: (DType.FLOAT, DType.DOUBLE),
    DType.FLOAT: (DType.DOUBLE,),
}


def is_lossless(source: DType, target: DType) -> bool:
    """Whether every value of one element type is a value of the other."""
    if source is target:
        return True
    if source is DType.BOOL:
        return target.is_integer or target in _MANTISSA
    if source.is_integer:
        if target.is_integer:
            if source.is_signed_integer:
                return target.is_signed_integer and target.bits >= source.bits
            return target.bits >= source.bits if target.is_unsigned_integer else target.bits > source.bits
        return source.bits - source.is_signed_integer <= _MANTISSA.get(target, 0)
    return target in _WIDER.get(source, ())


@rewrites_op(Transpose, name="remove-transpose", group=GROUP)
def remove_transpose(node: Node, b: Rewriter) -> Result:
    """A Transpose that keeps the order of the dimensions, and two in a row."""
    value = node.inputs[0]
    if value is None or value.rank is None:
        return None
    perm = permutation(node, value.rank)
    if perm == tuple(range(value.rank)):
        return value
    inner = _producer(node, Transpose)
    if inner is None or inner.inputs[0] is None:
        return None
    first = permutation(inner, value.rank)
    merged = tuple(first[p] for p in perm)
    b.credit(inner)
    return inner.inputs[0] if merged == tuple(range(value.rank)) else b.add(Transpose(merged), inner.inputs[0])


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The permutation of a Transpose node."""
    perm = node.op.perm  # type: ignore[attr-defined]
    return tuple(range(rank - 1, -1, -1)) if perm is None else tuple(perm)


RESHAPING = (Reshape, Squeeze, Unsqueeze, Flatten)


@rewrites_op(*RESHAPING, Expand, name="remove-reshape", group=GROUP)
def remove_reshape(node: Node, b: Rewriter) -> Result:
    """A change of shape that keeps the shape, alone or after others."""
    value = node.inputs[0]
    assert value is not None
    if same_shape(value, node.output):
        return value
    steps: list[Node] = []
    while isinstance(node.op, RESHAPING) and value.producer is not None and isinstance(value.producer.op, RESHAPING):
        steps.append(value.producer)
        earlier = value.producer.inputs[0]
        assert earlier is not None
        value = earlier
        if same_shape(value, node.output):
            b.credit(*steps)
            return value
    return None


@rewrites_op(Slice, name="remove-slice", group=GROUP)
def remove_slice(node: Node, b: Rewriter) -> Result:
    """A Slice of everything."""
    value, steps = node.inputs[0], node.operand(4)
    assert value is not None
    forward = steps is None or equals_everywhere(steps, 1)
    return value if forward and same_shape(value, node.output) else None


@rewrites_op(Pad, name="remove-pad", group=GROUP)
def remove_pad(node: Node, b: Rewriter) -> Result:
    """A Pad by nothing."""
    pads = node.operand(1)
    return node.inputs[0] if pads is not None and pads.ints is not None and not any(pads.ints) else None


@rewrites_op(Tile, name="remove-tile", group=GROUP)
def remove_tile(node: Node, b: Rewriter) -> Result:
    """A Tile that repeats once."""
    repeats = node.operand(1)
    return node.inputs[0] if repeats is not None and repeats.ints is not None and set(repeats.ints) <= {1} else None


@rewrites_op(Concat, Sum, Mean, Max, Min, name="remove-single", group=GROUP)
def remove_single(node: Node, b: Rewriter) -> Result:
    """A combination of one operand."""
    return node.inputs[0] if len(node.inputs) == 1 else None


@rewrites_op(Split, name="remove-split", group=GROUP)
def remove_split(node: Node, b: Rewriter) -> Result:
    """A Split into one part."""
    value = node.inputs[0]
    return value if len(node.outputs) == 1 and value is not None and same_shape(value, node.output) else None


@rewrites_op(Add, Sub, Or, Xor, name="remove-zero", group=GROUP)
def remove_zero(node: Node, b: Rewriter) -> Result:
    """Adding or subtracting zero; or with false."""
    return _without_neutral(node, 0, both=not isinstance(node.op, Sub))


@rewrites_op(Mul, Div, Pow, And, name="remove-one", group=GROUP)
def remove_one(node: Node, b: Rewriter) -> Result:
    """Multiplying with or dividing by one, the first power; and with true."""
    return _without_neutral(node, 1, both=isinstance(node.op, Mul | And))


def _without_neutral(node: Node, neutral: int, both: bool) -> Value | None:
    left, right = node.inputs
    assert left is not None and right is not None
    if right.data is not None and _same_type(left, node.output) and equals_everywhere(right, neutral):
        return left
    if both and left.data is not None and _same_type(right, node.output) and equals_everywhere(left, neutral):
        return right
    return None


@rewrites_op(Clip, name="remove-clip", group=GROUP)
def remove_clip(node: Node, b: Rewriter) -> Result:
    """A Clip without bounds, or with infinite ones."""
    low, high = node.operand(1), node.operand(2)
    open_below = low is None or equals_everywhere(low, float("-inf"))
    open_above = high is None or equals_everywhere(high, float("inf"))
    return node.inputs[0] if open_below and open_above else None


@rewrites_op(Resize, name="remove-resize", group=GROUP)
def remove_resize(node: Node, b: Rewriter) -> Result:
    """A Resize to the same size."""
    value, scales, sizes = node.inputs[0], node.operand(2), node.operand(3)
    assert value is not None
    if node.op.coordinate_transformation_mode == "tf_crop_and_resize" or not same_shape(value, node.output):  # type: ignore[attr-defined]
        return None
    if sizes is not None and sizes.shape != (0,):
        return value
    return value if scales is not None and equals_everywhere(scales, 1) else None


@rewrites_op(Where, name="remove-where", group=GROUP)
def remove_where(node: Node, b: Rewriter) -> Result:
    """A choice whose condition is known, or between twice the same."""
    condition, first, second = node.inputs
    assert first is not None and second is not None
    verdict = uniform_number(condition)
    if first is second or verdict is not None:
        chosen = first if first is second or verdict else second
        return chosen if same_shape(chosen, node.output) else None
    return None


@rewrites_op(Not, Neg, name="remove-double", group=GROUP)
def remove_double(node: Node, b: Rewriter) -> Result:
    """An involution done twice."""
    inner = _producer(node, type(node.op))
    if inner is None:
        return None
    b.credit(inner)
    return inner.inputs[0]


@rewrites_op(Relu, Abs, Ceil, Floor, Round, name="remove-repeated", group=GROUP)
def remove_repeated(node: Node, b: Rewriter) -> Result:
    """A projection done a second time."""
    return node.inputs[0] if _producer(node, type(node.op)) is not None else None


@rewrites_op(MaxPool, AveragePool, name="remove-pool", group=GROUP)
def remove_pool(node: Node, b: Rewriter) -> Result:
    """Pooling over single elements."""
    op: MaxPool | AveragePool = node.op  # type: ignore[assignment]
    alone = len(node.outputs) == 1 or not node.outputs[1].uses
    single = all(k == 1 for k in op.kernel_shape) and all(s == 1 for s in op.strides or ()) and not any(op.pads or ())
    value = node.inputs[0]
    assert value is not None
    return (value,) if alone and single and same_shape(value, node.output) else None


def _producer(node: Node, cls: type) -> Node | None:
    """The producer of the first operand when it applies an operator of this class."""
    value = node.inputs[0]
    producer = value.producer if value is not None else None
    return producer if producer is not None and isinstance(producer.op, cls) else None
