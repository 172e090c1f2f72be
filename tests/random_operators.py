"""The table of operators that random graphs draw from: each step adds one operator, or a few, to a `Builder`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgec.ir.dtypes import DType
from edgec.ir.graph import Value, constant
from edgec.ir.ops.activation import Clip, Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, PRelu, Relu, Sigmoid, Softplus
from edgec.ir.ops.binary import Add, Div, Max, Min, Mod, Mul, Pow, Sub, Sum
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Pad
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.logical import And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Or, Where, Xor
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.normalization import BatchNormalization, InstanceNormalization, LayerNormalization, RMSNormalization
from edgec.ir.ops.pooling import AveragePool, GlobalAveragePool, MaxPool
from edgec.ir.ops.random import Dropout
from edgec.ir.ops.reduction import (
    ArgMax,
    CumSum,
    ReduceL2,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
)
from edgec.ir.ops.reshape import Reshape
from edgec.ir.ops.softmax import LogSoftmax, Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Abs, Ceil, Cos, Erf, Exp, Floor, Identity, Log, Neg, Not, Reciprocal, Round, Sign, Sin, Sqrt, Tanh
from tests.random_movement import (
    concat,
    conditional,
    expand,
    gather,
    loop,
    positions,
    reshape,
    shape_chain,
    slices,
    split,
    squeeze,
    tile,
    transpose,
)
from tests.random_spellings import attention, spelled, spelled_channels
from tests.strategies import Builder, Reject, static_channels

SMOOTH = (Relu(), Neg(), Abs(), Tanh(), Sigmoid(), Erf(), Exp(), Sin(), Cos(), Softplus(), HardSwish(), HardSigmoid(), Gelu())
OTHERS = (Identity(), LeakyRelu(alpha=0.1), Elu(), Sqrt(), Log(), Reciprocal(), Floor(), Ceil(), Round(), Sign(), Dropout())
COMPARISONS = (Equal(), Less(), LessOrEqual(), Greater(), GreaterOrEqual())
REDUCTIONS = (ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL2, ReduceSumSquare, ReduceLogSumExp)
UNSAFE = (Div, Mod)


def unary(b: Builder) -> None:
    b.apply(b.choice(SMOOTH + OTHERS if b.chance(40) else SMOOTH), b.tensor())


def _is_number(value: Value, array: Any) -> bool:
    return value.dtype is not None and (value.dtype.is_float or value.dtype.is_integer)


def _partner(b: Builder, x: Value) -> Value:
    """A value that broadcasts with ``x``: another one of the graph, or a constant."""
    if b.chance(50):
        return b.broadcastable(x)

    def fits(value: Value, array: Any) -> bool:
        try:
            np.broadcast_shapes(array.shape, b.shape_of(x))
        except ValueError:
            return False
        return value.dtype is x.dtype

    return b.pick(fits, floats=False)


def binary(b: Builder) -> None:
    x = b.pick(_is_number, floats=b.chance(80))
    y = _partner(b, x)
    op = b.choice((Add(), Sub(), Mul(), Div(), Max(), Min(), Add(), Mul()))
    if b.chance(35):
        x, y = y, x
    if isinstance(op, Div) and (np.abs(b.array_of(y)) < 0.1).any():
        raise Reject
    b.apply(op, x, y)


def chain(b: Builder) -> None:
    """Several constants in a row: what canonicalisation and folding merge."""
    x = b.tensor()
    for _ in range(b.integer(2, 4)):
        x = b.apply(b.choice((Add(), Mul(), Sub())), *((x, b.broadcastable(x)) if b.chance(70) else (b.broadcastable(x), x)))


def power(b: Builder) -> None:
    x = b.tensor()
    b.apply(Pow(), x, constant(np.full((), b.choice((2.0, 3.0, 1.0, 0.0)), b.dtype.numpy)))


def several(b: Builder) -> None:
    x = b.tensor()
    b.apply(b.choice((Max(), Min(), Sum())), x, *(_partner(b, x) for _ in range(b.integer(0, 2))))


def clip(b: Builder) -> None:
    x = b.pick(_is_number, floats=b.chance(80))
    low, high = (b.number(b.choice((-1.0, 0.0, 1.0, 6.0)), x) if b.chance(80) else None for _ in range(2))
    b.apply(Clip(), x, low, high)


def prelu(b: Builder) -> None:
    x = b.tensor(2, 3, 4)
    b.apply(PRelu(), x, b.weights(b.shape_of(x)[1], *(1,) * (len(b.shape_of(x)) - 2)))


def comparison(b: Builder) -> None:
    x = b.pick(_is_number, floats=b.chance(60))
    b.apply(b.choice(COMPARISONS), x, _partner(b, x))


def logic(b: Builder) -> None:
    x = b.pick(lambda value, array: value.dtype is DType.BOOL, floats=False)
    y = _partner(b, x) if b.chance(60) else b.apply(Not(), x)
    b.apply(b.choice((And(), Or(), Xor())), x, y)


def where(b: Builder) -> None:
    x = b.tensor()
    y = _partner(b, x)
    condition = b.apply(b.choice(COMPARISONS), x, b.broadcastable(x)) if b.chance(70) else None
    if condition is None:
        shape = [1 if b.chance(50) else d for d in b.shape_of(x)]
        condition = constant(b.generator.integers(0, 2, shape).astype(bool) if b.chance(50) else np.full(shape, b.chance(50)))
    b.apply(Where(), condition, *((x, y) if b.chance(50) else (y, x)))


def cast(b: Builder) -> None:
    x = b.pick(floats=b.chance(50))
    middle = b.choice((DType.INT64, DType.INT32, DType.BOOL, DType.FLOAT, DType.DOUBLE, DType.FLOAT16))
    x = b.apply(Cast(to=middle), x)
    if b.chance(70):
        b.apply(Cast(to=b.dtype), x)


def matmul(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    size = b.shape_of(x)[-1]
    if b.chance(30):
        b.apply(MatMul(), x, b.pick(lambda value, array: array.ndim >= 1 and array.shape[max(array.ndim - 2, 0)] == size))
        return
    lead = (2,) if b.chance(10) else ()
    weight = b.weights(*lead, size, b.integer(1, 4)) if b.chance(85) else b.weights(size)
    if b.chance(25) and len(b.shape_of(weight)) == 2:
        weight = b.apply(Transpose(perm=(1, 0)), b.weights(*reversed(b.shape_of(weight))))
    if b.chance(25) and len(b.shape_of(x)) == 2:
        x = b.apply(Transpose(perm=(1, 0)), b.apply(Relu(), b.apply(Transpose(perm=(1, 0)), x)))
    y = b.apply(MatMul(), x, weight)
    if b.chance(50):
        b.apply(Add(), y, b.broadcastable(y))


def gemm(b: Builder) -> None:
    x = b.tensor(2)
    rows, size = b.shape_of(x)
    op = Gemm(transA=int(b.chance(25)), transB=int(b.chance(50)), alpha=b.choice((1.0, 1.0, 0.5)), beta=b.choice((1.0, 1.0, 2.0)))
    rows, size = (size, rows) if op.transA else (rows, size)
    columns = b.integer(1, 4)
    weight = b.weights(columns, size) if op.transB else b.weights(size, columns)
    c = b.choice((None, (columns,), (1, columns), (1,), (), (rows, columns), (rows, 1)))
    y = b.apply(op, x, weight, None if c is None else b.weights(*c))
    if b.chance(30):
        b.apply(b.choice((Add(), Mul())), y, b.broadcastable(y))


def flattened_gemm(b: Builder) -> None:
    x = b.tensor(3)
    batch, tokens, size = b.shape_of(x)
    columns = b.integer(1, 4)
    c = b.choice(((columns,), (1, columns), (), (batch * tokens, columns), (batch * tokens, 1)))
    flat = b.apply(Reshape(), x, b.ints(-1, size))
    y = b.apply(Gemm(transB=1), flat, b.weights(columns, size), b.weights(*c))
    b.apply(Reshape(), y, b.ints(*((0, 0, -1) if b.chance(20) else (batch, tokens, columns))))


def batch_norm(b: Builder) -> None:
    x = b.pick(lambda v, a: a.ndim >= 2 and v.shape is not None and isinstance(v.shape[1], int))
    size = b.shape_of(x)[1]
    b.apply(BatchNormalization(epsilon=b.choice((1e-5, 1e-3))), x, b.positive(size), b.weights(size), b.weights(size), b.positive(size))


def conv(b: Builder) -> None:
    x = b.pick(static_channels)
    kind = b.integer(0, 5)
    if kind == 0:
        size = b.shape_of(x)[1]
        x = b.apply(BatchNormalization(), x, b.positive(size), b.weights(size), b.weights(size), b.positive(size))
    elif kind == 1:
        border = [0, 0, *(b.integer(0, 1) for _ in b.shape_of(x)[2:])]
        x = b.apply(Pad(), x, b.ints(*border, *border))
    elif kind == 2:
        x = b.apply(Mul(), x, b.number(0.7, x))
    channels, spatial = b.shape_of(x)[1], len(b.shape_of(x)) - 2
    group = b.choice([g for g in (1, 2, 3, 4) if channels % g == 0])
    outputs = group * b.integer(1, 3)
    kernel = (b.integer(1, 3),) * spatial
    pads = tuple(b.integer(0, 1) for _ in range(2 * spatial)) if b.chance(50) else None
    auto = b.choice(("SAME_UPPER", "SAME_LOWER", "VALID")) if pads is None and b.chance(25) else "NOTSET"
    strides = (b.integer(1, 2),) * spatial
    if b.chance(30):
        y = b.apply(
            ConvTranspose(group=group, pads=pads, strides=strides),
            x,
            b.weights(channels, outputs // group, *kernel),
            b.weights(outputs) if b.chance(50) else None,
        )
    else:
        op = Conv(group=group, pads=pads, strides=strides, auto_pad=auto)
        y = b.apply(op, x, b.weights(outputs, channels // group, *kernel), b.weights(outputs) if b.chance(50) else None)
    for _ in range(b.integer(0, 2)):
        kind = b.integer(0, 3)
        if kind == 0:
            parameters = b.positive(outputs), b.weights(outputs), b.weights(outputs), b.positive(outputs)
            y = b.apply(BatchNormalization(), y, *parameters)
        elif kind == 1:
            c = b.positive(outputs, *(1,) * spatial) if b.chance(60) else b.broadcastable(y)
            op = b.choice((Mul(), Add(), Sub(), Div()))
            if isinstance(op, Div) and (np.abs(b.array_of(c)) < 0.1).any():
                op = Add()
            y = b.apply(op, *((y, c) if b.chance(70) or isinstance(op, Div) else (c, y)))
        else:
            y = b.apply(Relu() if kind == 2 else Neg(), y)


def pool(b: Builder) -> None:
    x = b.pick(static_channels)
    spatial = len(b.shape_of(x)) - 2
    if b.chance(20):
        b.apply(GlobalAveragePool(), x)
        return
    if b.chance(20):
        border = [0, 0, *(b.integer(0, 1) for _ in range(spatial))]
        x = b.apply(Pad(), x, b.ints(*border, *border))
    pads = tuple(b.integer(0, 1) for _ in range(2 * spatial)) if b.chance(40) else None
    settings: dict[str, Any] = {"kernel_shape": (2,) * spatial, "strides": (b.integer(1, 2),) * spatial, "pads": pads}
    settings["ceil_mode"] = int(b.chance(20))
    if b.chance(50):
        b.apply(MaxPool(**settings), x)
    else:
        b.apply(AveragePool(count_include_pad=int(b.chance(50)), **settings), x)


def pad(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    rank = len(b.shape_of(x))
    low = -1 if b.chance(10) else 0
    spatial_only = rank > 2 and b.chance(60)
    pads = [0 if spatial_only and i % rank < 2 else b.integer(low, 1) for i in range(2 * rank)]
    mode = b.choice(("constant", "constant", "constant", "edge", "reflect"))
    value = b.number(b.choice((0.0, 0.0, 1.0)), x) if mode == "constant" and b.chance(60) else None
    b.apply(Pad(mode=mode), x, b.ints(*pads), value)


def normalization(b: Builder) -> None:
    x = b.pick(lambda v, a: a.ndim >= 2 and v.shape is not None and isinstance(v.shape[-1], int))
    size = b.shape_of(x)[-1]
    kind = b.integer(0, 3)
    if kind == 0:
        b.apply(LayerNormalization(epsilon=1e-2), x, b.positive(size), b.weights(size) if b.chance(60) else None)
    elif kind == 1:
        b.apply(RMSNormalization(epsilon=1e-2), x, b.positive(size))
    elif kind == 2:
        b.apply(b.choice((Softmax, LogSoftmax))(axis=b.integer(-1, len(b.shape_of(x)) - 1)), x)
    else:
        channels = b.shape_of(x)[1]
        b.apply(InstanceNormalization(epsilon=1e-2), x, b.positive(channels), b.weights(channels))


def softmax(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    y = b.apply(Softmax(axis=b.integer(-1, len(b.shape_of(x)) - 1)), x)
    if b.chance(20):
        b.apply(Log(), y)


def reduction(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    rank = len(b.shape_of(x))
    axes = [a for a in range(-1, rank - 1) if b.chance(50)]
    operand = b.ints(*axes) if axes or b.chance(10) else None
    noop = int(operand is not None and not axes and b.chance(50))
    b.apply(b.choice(REDUCTIONS)(keepdims=int(b.chance(60)), noop_with_empty_axes=noop), x, operand)


def argmax(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    b.apply(ArgMax(axis=b.integer(-1, len(b.shape_of(x)) - 1), keepdims=int(b.chance(50))), x)


def cumsum(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1)
    b.apply(CumSum(), x, constant(b.integer(-1, len(b.shape_of(x)) - 1), dtype=DType.INT64))


Step = Callable[[Builder], None]
PLANTED: tuple[Step, ...] = (
    *(spelled, spelled, spelled, spelled_channels, attention, attention, conv, conv, gemm, flattened_gemm, transpose, shape_chain),
    *(unary, binary, matmul, where),
)
STEPS: tuple[Step, ...] = (
    *(unary,) * 4,
    *(binary,) * 6,
    *(chain, power, several, clip, prelu, comparison, logic, where, cast, cast),
    *(matmul, matmul, gemm, gemm, flattened_gemm, conv, conv, conv, batch_norm, pool, pad),
    *(normalization, softmax, reduction, reduction, argmax, cumsum),
    *(transpose, transpose, transpose, reshape, reshape, squeeze, expand, concat, concat, split, slices, slices, gather, gather, tile),
    *(shape_chain, shape_chain, positions, conditional, loop),
    *(spelled,) * 5,
    *(spelled_channels, attention, attention),
)
