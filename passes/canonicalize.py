"""One spelling for what can be written in several ways, so that later rules need to know only one.

After this pass (all rules are exact):

- a constant operand of Add, Mul, And, Or, Xor, Equal, BitwiseAnd/Or/Xor and of binary Max, Min stands on the right, and so does
  a constant of a comparison (``1 < x`` becomes ``x > 1``); Sub and Div keep their order;
- a Sum of two is an Add; a variadic operator of one operand is removed by ``remove-no-ops``;
- ``x + -y`` is ``x - y``, ``x - -y`` is ``x + y``, ``-x * -y`` is ``x * y``, and ``-x * c`` is ``x * -c``;
- ``x ** 2`` is ``x * x``, ``1 / x`` is Reciprocal; division by a power of two is multiplication by its reciprocal, any other
  division stays a Div;
- CastLike is a Cast; Where of a Not has its choices exchanged;
- a Gemm that only multiplies is a MatMul;
- axes are non-negative where the rank is known: of Concat, Split, Gather, GatherElements, ArgMax, ArgMin and in the axes operand of
  Squeeze, Unsqueeze and reductions (there also sorted); Softmax, LogSoftmax and the normalisations over trailing axes write the last
  axis as -1;
- Transpose names its permutation, and Squeeze the axes that it drops, where the shape says them.

Squeeze, Unsqueeze, Flatten and Reshape are not exchanged for each other here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.op import Op
from ..ir.ops.binary import Add, Div, Max, Min, Mul, Pow, Sub, Sum
from ..ir.ops.cast import Cast, CastLike
from ..ir.ops.concat import Concat, Split
from ..ir.ops.gather import Gather, GatherElements
from ..ir.ops.logical import (
    And,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Or,
    Where,
    Xor,
)
from ..ir.ops.matmul import Gemm, MatMul
from ..ir.ops.normalization import LayerNormalization, RMSNormalization
from ..ir.ops.reduction import ArgMax, ArgMin, Reduction
from ..ir.ops.reshape import Squeeze, Unsqueeze
from ..ir.ops.softmax import LogSoftmax, Softmax
from ..ir.ops.transpose import Transpose
from ..ir.ops.unary import Neg, Not, Reciprocal
from .driver import RulePass
from .remove_no_ops import same_shape
from .rewriter import Result, Rewriter, rewrites_op
from .values import array_of, equals_everywhere, uniform_number

GROUP = "canonical"


@dataclass(frozen=True)
class Canonicalize(RulePass):
    """Choose one spelling where there are several; see the module's list."""

    name: ClassVar[str] = "canonicalize"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@rewrites_op(Add, Mul, And, Or, Xor, Equal, BitwiseAnd, BitwiseOr, BitwiseXor, Max, Min, name="constant-to-the-right", group=GROUP)
def constant_to_the_right(node: Node, b: Rewriter) -> Result:
    """Exchange the operands of a commutative operator so that a constant comes second."""
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None or left.data is None or right.data is not None:
        return None
    return b.add(node.op, right, left)


_MIRRORED: dict[type[Op], Op] = {
    Less: Greater(),
    Greater: Less(),
    LessOrEqual: GreaterOrEqual(),
    GreaterOrEqual: LessOrEqual(),
}


@rewrites_op(*_MIRRORED, name="mirror-comparison", group=GROUP)
def mirror_comparison(node: Node, b: Rewriter) -> Result:
    """Turn a comparison around so that a constant comes second."""
    left, right = node.inputs
    if left is None or right is None or left.data is None or right.data is not None:
        return None
    return b.add(_MIRRORED[type(node.op)], right, left)


@rewrites_op(Sum, name="sum-to-add", group=GROUP)
def sum_to_add(node: Node, b: Rewriter) -> Result:
    """A Sum of two is an Add."""
    return b.add(Add(), *node.inputs) if len(node.inputs) == 2 else None


def _negated(value: Value | None) -> Value | None:
    """The operand of the Neg that computes a value."""
    producer = value.producer if value is not None else None
    return producer.inputs[0] if producer is not None and isinstance(producer.op, Neg) else None


@rewrites_op(Add, Sub, name="absorb-negation", group=GROUP)
def absorb_negation(node: Node, b: Rewriter) -> Result:
    """x + -y is x - y, -x + y is y - x, x - -y is x + y."""
    left, right = node.inputs
    negated = _negated(right)
    if negated is not None:
        return b.add(Sub() if isinstance(node.op, Add) else Add(), left, negated)
    negated = _negated(left)
    if negated is not None and isinstance(node.op, Add):
        return b.add(Sub(), right, negated)
    return None


@rewrites_op(Mul, name="cancel-negations", group=GROUP)
def cancel_negations(node: Node, b: Rewriter) -> Result:
    """-x * -y is x * y; -x * c is x * -c."""
    left, right = node.inputs
    first, second = _negated(left), _negated(right)
    if first is not None and second is not None:
        return b.add(Mul(), first, second)
    factor = array_of(right)
    if first is not None and factor is not None and factor.size <= 1024 and factor.dtype.kind in "fi":
        return b.add(Mul(), first, b.constant(np.negative(factor), right.dtype if right is not None else None))
    return None


@rewrites_op(Pow, name="square", group=GROUP)
def square(node: Node, b: Rewriter) -> Result:
    """x ** 2 is x * x."""
    base, exponent = node.inputs
    if base is None or exponent is None or not equals_everywhere(exponent, 2):
        return None
    return b.add(Mul(), base, base) if same_shape(base, node.output) else None


@rewrites_op(Div, name="divide-by-power-of-two", group=GROUP)
def divide_by_power_of_two(node: Node, b: Rewriter) -> Result:
    """x / c for a power of two is x * (1/c); the same bits."""
    left, right = node.inputs
    number = uniform_number(right)
    if left is None or right is None or left.data is not None or not isinstance(number, float):
        return None
    if number == 1 or not _has_exact_reciprocal(number, right.dtype):
        return None
    assert right.data is not None and right.dtype is not None
    return b.add(Mul(), left, b.constant(np.full(right.data.shape, 1 / number, right.dtype.numpy), right.dtype))


_SAFE_EXPONENT = {DType.FLOAT16: 14, DType.BFLOAT16: 126, DType.FLOAT: 126, DType.DOUBLE: 1022}


def _has_exact_reciprocal(number: float, dtype: DType | None) -> bool:
    """Whether the number is a power of two whose reciprocal is a normal number of the type too."""
    limit = _SAFE_EXPONENT.get(dtype) if dtype is not None else None
    if limit is None or number == 0 or not math.isfinite(number):
        return False
    mantissa, exponent = math.frexp(number)
    return abs(mantissa) == 0.5 and abs(exponent - 1) <= limit


@rewrites_op(Div, name="reciprocal", group=GROUP)
def reciprocal(node: Node, b: Rewriter) -> Result:
    """1 / x is Reciprocal(x) for floats."""
    left, right = node.inputs
    if left is None or right is None or left.data is None or right.data is not None or right.dtype is None:
        return None
    if not right.dtype.is_float or not equals_everywhere(left, 1) or not same_shape(right, node.output):
        return None
    return b.add(Reciprocal(), right)


@rewrites_op(CastLike, name="cast-like-to-cast", group=GROUP)
def cast_like_to_cast(node: Node, b: Rewriter) -> Result:
    """A CastLike whose target type is known is a Cast."""
    dtype = node.output.dtype
    op: Any = node.op
    return b.add(Cast(to=dtype, saturate=op.saturate, round_mode=op.round_mode), node.inputs[0]) if dtype is not None else None


@rewrites_op(Where, name="where-not", group=GROUP)
def where_not(node: Node, b: Rewriter) -> Result:
    """A choice by the opposite of a condition has its choices exchanged."""
    condition, first, second = node.inputs
    producer = condition.producer if condition is not None else None
    if producer is None or not isinstance(producer.op, Not):
        return None
    return b.add(Where(), producer.inputs[0], second, first)


@rewrites_op(Gemm, name="gemm-to-matmul", group=GROUP)
def gemm_to_matmul(node: Node, b: Rewriter) -> Result:
    """A Gemm without scaling, transposition and addend is a MatMul."""
    op: Any = node.op
    if op.alpha != 1.0 or op.transA or op.transB or (node.operand(2) is not None and op.beta != 0.0):
        return None
    return b.add(MatMul(), node.inputs[0], node.inputs[1])


@rewrites_op(Concat, Split, Gather, GatherElements, ArgMax, ArgMin, name="count-axis-from-front", group=GROUP)
def count_axis_from_front(node: Node, b: Rewriter) -> Result:
    """A negative axis attribute becomes the axis it means."""
    op: Any = node.op
    value = node.inputs[0]
    if op.axis >= 0 or value is None or value.rank is None:
        return None
    return b.add(replace(op, axis=op.axis + value.rank), *node.inputs, outputs=len(node.outputs))


@rewrites_op(Softmax, LogSoftmax, LayerNormalization, RMSNormalization, name="name-last-axis", group=GROUP)
def name_last_axis(node: Node, b: Rewriter) -> Result:
    """The last axis is written as -1."""
    op: Any = node.op
    value = node.inputs[0]
    if value is None or value.rank is None or op.axis != value.rank - 1:
        return None
    return b.add(replace(op, axis=-1), *node.inputs, outputs=len(node.outputs))


@rewrites_op(Squeeze, Unsqueeze, Reduction, name="sort-axes", group=GROUP)
def sort_axes(node: Node, b: Rewriter) -> Result:
    """Axes operands are non-negative and sorted; a Squeeze without axes names them."""
    value, axes = node.inputs[0], node.operand(1)
    if value is None or value.rank is None:
        return None
    if axes is None:
        if not isinstance(node.op, Squeeze) or not value.tensor.is_static:
            return None
        ones = [i for i, dim in enumerate(value.tensor.static_shape or ()) if dim == 1]
        return b.add(Squeeze(), value, b.ints(ones)) if ones else None
    if axes.data is None or not axes.ints:
        return None
    rank = value.rank + (len(axes.ints) if isinstance(node.op, Unsqueeze) else 0)
    wanted = tuple(sorted(axis % rank for axis in axes.ints))
    return b.add(node.op, value, b.ints(wanted)) if wanted != axes.ints else None


@rewrites_op(Transpose, name="name-permutation", group=GROUP)
def name_permutation(node: Node, b: Rewriter) -> Result:
    """A Transpose without a permutation reverses the dimensions; say so."""
    op: Any = node.op
    value = node.inputs[0]
    if op.perm is not None or value is None or value.rank is None:
        return None
    return b.add(Transpose(tuple(range(value.rank - 1, -1, -1))), value)
