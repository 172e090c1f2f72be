"""Random data movement, shape arithmetic and control flow for the graphs of `tests.strategies`."""

from __future__ import annotations

import numpy as np

from edgec.ir.data import ArrayData
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant
from edgec.ir.ops.activation import Relu, Sigmoid
from edgec.ir.ops.binary import Add, Div, Mul
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Concat, Split
from edgec.ir.ops.control import If, Loop
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.generate import ConstantOfShape, Range
from edgec.ir.ops.logical import Greater
from edgec.ir.ops.reduction import (
    ReduceMean,
)
from edgec.ir.ops.reshape import Expand, Flatten, Reshape, Shape, Size, Squeeze, Tile, Unsqueeze
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Identity, Neg, Tanh
from tests.strategies import Builder


def transpose(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 2, floats=b.chance(90))
    rank = len(b.shape_of(x))
    perm = tuple(b.generator.permutation(rank).tolist()) if b.chance(80) else None
    y = b.apply(Transpose(perm=perm), x)
    if b.chance(50):
        return
    for _ in range(b.integer(0, 2)):
        y = b.apply(b.choice((Relu(), Neg(), Sigmoid())), y) if b.chance(50) else b.apply(Mul(), y, b.broadcastable(y))
    if b.chance(30) and len(b.shape_of(y)) == rank:
        y = b.apply(ReduceMean(), y, b.ints(b.integer(-1, rank - 1)))
    if b.chance(30) and len(b.shape_of(y)) == rank:
        y = b.apply(Softmax(axis=b.integer(0, rank - 1)), y)
    if b.chance(30) and len(b.shape_of(y)) == rank:
        y = b.apply(Concat(axis=b.integer(0, rank - 1)), y, y)
    if len(b.shape_of(y)) == rank:
        b.apply(Transpose(perm=None if perm is None else tuple(int(i) for i in np.argsort(perm))), y)


def reshape(b: Builder) -> None:
    x = b.pick(floats=b.chance(85))
    shape = list(b.shape_of(x))
    kind = b.integer(0, 4)
    if kind == 0:
        b.apply(Flatten(axis=b.integer(0, len(shape))), x)
        return
    if kind == 1 and len(shape) >= 2:  # merge two neighbours
        at = b.integer(0, len(shape) - 2)
        target = [*([0] * at), -1, *shape[at + 2 :]]
    elif kind == 2 and shape and shape[-1] % 2 == 0:  # cut the last one
        target = [*(0 for _ in shape[:-1]), 2, shape[-1] // 2]
    elif kind == 3:
        target = [1, *shape]
    else:
        target = [-1] if b.chance(50) else [0] * len(shape)
    y = b.apply(Reshape(), x, b.ints(*target))
    if b.chance(40):
        b.apply(Reshape(), y, b.ints(*shape))


def squeeze(b: Builder) -> None:
    x = b.pick(floats=b.chance(85))
    rank = len(b.shape_of(x))
    lifted = b.apply(Unsqueeze(), x, b.ints(b.integer(-1, rank)))
    if b.chance(30):
        lifted = b.apply(Unsqueeze(), lifted, b.ints(b.integer(0, rank)))
    if b.chance(40):
        lifted = b.apply(b.choice((Relu(), Neg(), Identity())), lifted)
    ones = [i for i, d in enumerate(lifted.shape or ()) if d == 1]
    if ones and b.chance(60):
        b.apply(Squeeze(), lifted, b.ints(b.choice(ones)))


def expand(b: Builder) -> None:
    x = b.pick(floats=b.chance(85))
    shape = [d if d != 1 or b.chance(50) else 2 for d in b.shape_of(x)]
    if b.chance(40):
        shape = [1 if b.chance(50) else d for d in shape]
    b.apply(Expand(), x, b.ints(*([2] if b.chance(20) else []), *shape))


def concat(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1, floats=b.chance(85))
    axis = b.integer(0, len(b.shape_of(x)) - 1)
    rest = [d for i, d in enumerate(b.shape_of(x)) if i != axis]
    operands = [x]
    for _ in range(b.integer(0, 2)):
        operands.append(
            b.pick(
                lambda v, a: v.dtype is x.dtype and a.ndim == len(rest) + 1 and [d for i, d in enumerate(a.shape) if i != axis] == rest,
                floats=False,
            )
        )
    if b.chance(25):
        shape = [*rest[:axis], b.integer(1, 2), *rest[axis:]]
        zeros = b.apply(ConstantOfShape(value=ArrayData(np.zeros(1, x.tensor.dtype.numpy))), b.ints(*shape))
        operands.insert(b.integer(0, len(operands)), zeros)
    b.apply(Concat(axis=axis - (len(rest) + 1 if b.chance(30) else 0)), *operands)


def split(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1 and array.shape[-1] >= 2 and isinstance((value.shape or (None,))[-1], int))
    size = b.shape_of(x)[-1]
    if size % 2 == 0 and b.chance(50):
        parts = b.apply(Split(axis=-1, num_outputs=2), x, outputs=2)
    else:
        first = b.integer(1, size - 1)
        parts = b.apply(Split(axis=-1), x, b.ints(first, size - first), outputs=2)
    if b.chance(40):
        b.apply(Concat(axis=-1), *(parts if b.chance(60) else parts[::-1]))


def slices(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1, floats=b.chance(85))
    for _ in range(b.integer(1, 2)):
        rank = len(b.shape_of(x))
        axis = b.integer(0, rank - 1)
        size = b.shape_of(x)[axis]
        start, end, step = b.choice(
            ((0, size, 1), (1, size, 1), (0, -1, 1), (-1, -size - 1, -1), (0, 1 << 40, 2), (0, max(size - 1, 1), 1), (-2, size, 1))
        )
        steps = b.ints(step) if step != 1 or b.chance(50) else None
        x = b.apply(Slice(), x, b.ints(start), b.ints(end), b.ints(axis - (rank if b.chance(30) else 0)), steps)


def gather(b: Builder) -> None:
    x = b.pick(lambda value, array: array.ndim >= 1, floats=b.chance(85))
    axis = b.integer(0, len(b.shape_of(x)) - 1)
    size = b.shape_of(x)[axis]
    shape = b.choice(((), (1,), (2,), (size,)))
    indices = b.generator.integers(-size, size, shape) if b.chance(70) else np.arange(size)
    b.apply(Gather(axis=axis), x, constant(np.asarray(indices, np.int64)))


def tile(b: Builder) -> None:
    x = b.tensor()
    b.apply(Tile(), x, b.ints(*(b.integer(1, 2) for _ in b.shape_of(x))))


def shape_chain(b: Builder) -> None:
    """Shape → Gather or Slice → arithmetic → Concat → Reshape, Expand or ConstantOfShape."""
    x = b.pick(lambda value, array: array.ndim >= 1)
    rank = len(b.shape_of(x))
    full = b.apply(Shape(), x)
    dims: list[Value] = []
    for axis in range(rank):
        kind = b.integer(0, 3)
        if kind == 0:
            picked = b.apply(Gather(), full, constant(axis, dtype=DType.INT64))
            if b.chance(30):
                picked = b.apply(Mul(), b.apply(Cast(to=DType.INT64), b.apply(Cast(to=DType.FLOAT), picked)), b.ints(1))
                dims.append(picked)
            else:
                dims.append(b.apply(Unsqueeze(), picked, b.ints(0)))
        elif kind == 1:
            dims.append(b.apply(Slice(), full, b.ints(axis), b.ints(axis + 1), b.ints(0)))
        elif kind == 2:
            dims.append(b.apply(Shape(start=axis, end=axis + 1), x))
        else:
            dims.append(b.ints(b.shape_of(x)[axis]))
    kind = b.integer(0, 4)
    if kind == 0 and rank >= 2:
        target = b.apply(Concat(axis=0), b.apply(Mul(), dims[0], dims[1]), *dims[2:])
        b.apply(Reshape(), x, target)
    elif kind == 1:
        target = b.apply(Concat(axis=0), *dims[:-1], b.ints(-1))
        b.apply(Reshape(), x, target)
    elif kind == 2:
        target = b.apply(Concat(axis=0), b.ints(1), *dims)
        b.apply(Expand(), b.tensor(0, 1), target) if b.chance(30) else b.apply(Expand(), x, target)
    elif kind == 3:
        filled = b.apply(ConstantOfShape(value=ArrayData(np.ones(1, b.dtype.numpy))), b.apply(Concat(axis=0), *dims))
        b.apply(b.choice((Add(), Mul())), x, filled)
    else:
        count = b.apply(Cast(to=b.dtype), b.apply(Size(), x))
        b.apply(Div(), x, count)


def positions(b: Builder) -> None:
    """Range up to a dimension, used as indices and as numbers."""
    x = b.pick(lambda value, array: array.ndim >= 1)
    axis = b.integer(0, len(b.shape_of(x)) - 1)
    size = b.apply(Gather(), b.apply(Shape(), x), constant(axis, dtype=DType.INT64))
    numbers = b.apply(Range(), constant(0, dtype=DType.INT64), size, constant(1, dtype=DType.INT64))
    b.apply(Gather(axis=axis), x, numbers)


def conditional(b: Builder) -> None:
    x = b.tensor()
    kind = b.integer(0, 2)
    if kind == 0:
        condition: Value = constant(np.array(b.chance(50)))
    elif kind == 1:
        condition = b.apply(Greater(), b.apply(ReduceMean(keepdims=0), x), b.number(0.0, x))
    else:
        condition = b.pick(lambda value, array: value.dtype is DType.BOOL and array.ndim == 0, floats=False)
    branches = [Graph("then_branch"), Graph("else_branch")]
    for branch in branches:
        y = x
        for _ in range(b.integer(0, 2)):
            y = branch.add(b.choice((Relu(), Neg(), Tanh(), Identity())), y)
            if b.chance(40):
                y = branch.add(b.choice((Add(), Mul())), y, b.number(b.choice((0.0, 1.0, 2.0)), x))
        branch.set_outputs([branch.add(Identity(), y)], ["o"])
    b.apply(If(), condition, regions=branches, outputs=1)


def loop(b: Builder) -> None:
    x = b.tensor()
    body = Graph("body")
    body.add_input("i", constant(0, dtype=DType.INT64).type)
    going = body.add_input("c", constant(np.array(True)).type)
    carried = body.add_input("v", x.tensor.with_shape(x.shape))
    y = body.add(b.choice((Tanh(), Neg(), Sigmoid())), carried)
    if b.chance(50):
        y = body.add(Add(), y, x)
    body.set_outputs([body.add(Identity(), going), y], ["c", "v"])
    b.apply(Loop(), b.ints(b.integer(0, 3)), constant(np.array(True)), x, regions=[body], outputs=1)
