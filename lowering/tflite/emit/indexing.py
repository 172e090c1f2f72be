"""Gathering, scattering, one-hot vectors and ranges."""

from __future__ import annotations

import math

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.gather import Gather, GatherElements, GatherND
from ....ir.ops.generate import ConstantOfShape, OneHot, Range
from ....ir.ops.reduction import ArgMax, ArgMin
from ....ir.ops.reshape import Shape, Size
from ....ir.ops.scatter import ScatterElements, ScatterND
from ....ir.ops.selection import NonZero
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, first_of, no
from .conditions import NUMBERS, sizes, static_shape
from .movement import ANY
from .shapes import gathered, vector_operand

GATHERED = ANY - {DType.DOUBLE, DType.UINT16, DType.UINT32, DType.UINT64}
SCATTERED = frozenset((DType.FLOAT, DType.INT32, DType.INT64))
ONE_HOT = frozenset((DType.FLOAT, DType.INT8, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL))
POSITIVE = (ArgMax, ArgMin, Shape, Size, NonZero)
INDICES = (DType.INT32, DType.INT64)


def never_negative(value: Value) -> bool:
    """Whether indices are known not to count from the end."""
    if value.content is not None and all(isinstance(c, int) and c >= 0 for c in value.content):
        return True
    if value.data is not None:
        return bool((value.data.numpy() >= 0).all())
    producer = value.producer
    return producer is not None and isinstance(producer.op, POSITIVE)


def size_tensor(e: Emitter, x: int, axes: list[int], dtype: DType) -> int:
    """Sizes of a tensor as a vector, a constant when they are known."""
    known = [e.shape(x)[axis] for axis in axes]
    if None not in known:
        return e.constant(np.asarray(known, dtype.numpy))
    return gathered(e, e.shape_of(x, dtype), axes)


def from_the_start(e: Emitter, value: Value, x: int, axes: list[int]) -> int:
    """Indices into some axes of a tensor, those that count from the end replaced by those that count from the start.

    With several axes the last dimension of the indices runs over them.
    """
    if never_negative(value):
        return e.operand(value)
    known = [e.shape(x)[axis] for axis in axes]
    if value.data is not None and None not in known:
        array = value.data.numpy()
        return e.constant(np.where(array < 0, array + np.asarray(known, array.dtype), array).astype(array.dtype), value.name)
    index = e.operand(value)
    dtype = e.dtype(index)
    shifted = e.binary("ADD", index, size_tensor(e, x, axes, dtype), fusedActivationFunction=0)
    negative = e.binary("LESS", index, e.number(0, dtype), DType.BOOL)
    result = e.temporary(e.shape(index), dtype)
    e.op("SELECT_V2", [negative, shifted, index], [result])
    return result


@emits(Gather, dtypes=GATHERED)
def gather(e: Emitter, node: Node) -> None:
    op, data, index = node.op, *node.inputs
    assert isinstance(op, Gather) and data is not None and index is not None and data.rank is not None
    x, axis = e.operand(data), op.axis % data.rank
    places = from_the_start(e, index, x, [axis])
    if index.rank == 0 and len(e.shape(places)):
        places = e.reshaped(places, [])
    e.op("GATHER", [x, places], [e.result(node.output)], axis=axis)


def _flat(node: Node) -> Verdict | None:
    for value in node.inputs[:2]:
        assert value is not None
        shape = static_shape(value)
        if shape is None:
            return no("the sizes of the operands are not known before the run", "dynamic-shape")
        if math.prod(shape) >= 2**31:
            return no("the operand has more elements than int32 counts", "int64-range")
    return None


def _element_places(e: Emitter, index: Value, x: int, axis: int) -> int:
    """Positions in the flattened tensor ``x`` of the elements that indices along one axis name, in the shape of the indices."""
    shape = [d or 0 for d in e.shape(x)]
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    wanted = static_shape(index)
    assert wanted is not None
    base = np.zeros(wanted, np.int64)
    for i, grid in enumerate(np.indices(wanted, sparse=True)):
        if i != axis:
            base += grid * strides[i]
    if index.data is not None:
        array = index.data.numpy().astype(np.int64)
        return e.constant((base + np.where(array < 0, array + shape[axis], array) * strides[axis]).astype(np.int32))
    places = e.cast(from_the_start(e, index, x, [axis]), DType.INT32)
    if strides[axis] != 1:
        places = e.binary("MUL", places, e.number(strides[axis], DType.INT32), fusedActivationFunction=0)
    return e.binary("ADD", places, e.constant(base.astype(np.int32)), fusedActivationFunction=0) if base.any() else places


@emits(GatherElements, dtypes=GATHERED, when=_flat, level="decomposed")
def gather_elements(e: Emitter, node: Node) -> None:
    """GATHER from the flattened operand."""
    op, data, index = node.op, *node.inputs
    assert isinstance(op, GatherElements) and data is not None and index is not None and data.rank is not None
    x = e.operand(data)
    places = _element_places(e, index, x, op.axis % data.rank)
    e.op("GATHER", [e.reshaped(x, [math.prod(static_shape(data) or ())]), places], [e.result(node.output)], axis=0)


@emits(GatherElements, dtypes=GATHERED, level="decomposed")
def gather_elements_of_any_size(e: Emitter, node: Node) -> None:
    """GATHER_ND with the positions along every axis."""
    op, data, index = node.op, *node.inputs
    assert isinstance(op, GatherElements) and data is not None and index is not None and data.rank is not None
    x, axis = e.operand(data), op.axis % data.rank
    own = e.cast(from_the_start(e, index, x, [axis]), DType.INT32)
    lengths = e.shape_of(own)
    parts = [own if i == axis else _positions(e, own, lengths, i) for i in range(data.rank)]
    shape = e.shape(own)
    columns = []
    for part in parts:
        column = e.temporary([*shape, 1], DType.INT32)
        e.op("EXPAND_DIMS", [part, e.number(len(shape), DType.INT32)], [column])
        columns.append(column)
    places = e.temporary([*shape, len(columns)], DType.INT32)
    e.op("CONCATENATION", columns, [places], axis=len(shape), fusedActivationFunction=0)
    e.op("GATHER_ND", [x, places], [e.result(node.output)])


def _positions(e: Emitter, like: int, lengths: int, axis: int) -> int:
    """A tensor of the shape ``lengths`` of another whose elements are their positions along an axis."""
    shape = e.shape(like)
    length = e.temporary([], DType.INT32)
    e.op("GATHER", [lengths, e.number(axis, DType.INT32)], [length], axis=0)
    count = e.temporary([shape[axis]], DType.INT32)
    e.op("RANGE", [e.number(0, DType.INT32), length, e.number(1, DType.INT32)], [count])
    count = e.reshaped(count, [shape[axis] if i == axis else 1 for i in range(len(shape))])
    whole = e.temporary(shape, DType.INT32)
    e.op("BROADCAST_TO", [count, lengths], [whole], version=2)
    return whole


def _batched_known(node: Node) -> Verdict | None:
    op, index = node.op, node.inputs[1]
    assert isinstance(op, GatherND) and index is not None and index.shape is not None
    if not isinstance(index.shape[-1], int):
        return no("the number of indexed axes is not known", "dynamic-shape")
    return _flat(node) if op.batch_dims else None


@emits(GatherND, dtypes=GATHERED, when=_batched_known)
def gather_nd(e: Emitter, node: Node) -> None:
    """GATHER_ND; the positions in batch dimensions become further indices."""
    op, data, index = node.op, *node.inputs
    assert isinstance(op, GatherND) and data is not None and index is not None and index.shape is not None
    x, batch = e.operand(data), op.batch_dims
    count = index.shape[-1]
    assert isinstance(count, int)
    places = from_the_start(e, index, x, list(range(batch, batch + count)))
    if batch:
        wanted = static_shape(index)
        assert wanted is not None
        grids = np.indices(wanted[:-1])[:batch]
        front = e.constant(np.moveaxis(grids, 0, -1).astype(e.dtype(places).numpy))
        joined = e.temporary([*wanted[:-1], batch + count], e.dtype(places))
        e.op("CONCATENATION", [front, places], [joined], axis=len(wanted) - 1, fusedActivationFunction=0)
        places = joined
    e.op("GATHER_ND", [x, places], [e.result(node.output)])


# -- scattering -------------------------------------------------------------------------------------------------------------
def _reduces(node: Node) -> str | None:
    op = node.op
    assert isinstance(op, ScatterElements | ScatterND)
    return None if op.reduction in ("none", "add") else f"the kernel only adds; reduction is '{op.reduction}'"


def _scatter(e: Emitter, node: Node, data: int, places: int, updates: int, result: int, reduction: str) -> None:
    """Write or add updates at the positions ``places`` of ``data``; SCATTER_ND writes into zeros."""
    shape = e.shape(data)
    vector = e.ints([d for d in shape if d is not None]) if None not in shape else e.shape_of(data)
    spread = e.temporary(shape, e.dtype(data))
    e.op("SCATTER_ND", [places, updates, vector], [spread])
    if reduction == "add":
        e.op("ADD", [data, spread], [result], fusedActivationFunction=0)
        return
    ones = e.temporary(e.shape(updates), DType.INT32)
    sizes_of = e.shape(updates)
    filled = e.ints([d for d in sizes_of if d is not None]) if None not in sizes_of else e.shape_of(updates)
    e.op("FILL", [filled, e.number(1, DType.INT32)], [ones])
    counts = e.temporary(shape, DType.INT32)
    e.op("SCATTER_ND", [places, ones, vector], [counts])
    written = e.binary("GREATER", counts, e.number(0, DType.INT32), DType.BOOL)
    e.op("SELECT_V2", [written, spread, data], [result])


@emits(ScatterND, dtypes=SCATTERED, when=_reduces, level="decomposed")
def scatter_nd(e: Emitter, node: Node) -> None:
    """SCATTER_ND into zeros, and a choice between that and the operand; indices that repeat are not defined."""
    op, data, index, updates = node.op, *node.inputs
    assert isinstance(op, ScatterND) and data is not None and index is not None and index.shape is not None
    x = e.operand(data)
    count = index.shape[-1]
    assert isinstance(count, int)
    places = e.cast(from_the_start(e, index, x, list(range(count))), DType.INT32)
    _scatter(e, node, x, places, e.operand(updates), e.result(node.output), op.reduction)


@emits(ScatterElements, dtypes=SCATTERED, when=first_of(_flat, _reduces), level="decomposed")
def scatter_elements(e: Emitter, node: Node) -> None:
    """The same on the flattened operand."""
    op, data, index, updates = node.op, *node.inputs
    assert isinstance(op, ScatterElements) and data is not None and index is not None and data.rank is not None
    x = e.operand(data)
    places = e.reshaped(_element_places(e, index, x, op.axis % data.rank), [math.prod(static_shape(index) or ()), 1])
    count = math.prod(d or 0 for d in e.shape(x))
    flat = e.temporary([count], e.dtype(x))
    _scatter(e, node, e.reshaped(x, [count]), places, e.reshaped(e.operand(updates), [e.shape(places)[0]]), flat, op.reduction)
    e.reshape_into(flat, e.result(node.output), e.shape(x))


# -- making tensors ---------------------------------------------------------------------------------------------------------
def _depth_known(node: Node) -> Verdict | None:
    index, depth, values = node.inputs
    assert index is not None and depth is not None and values is not None
    if depth.ints is None and (depth.data is None or depth.data.numpy().size != 1):
        return no("the depth is computed at run time", "dynamic-parameter")
    if index.dtype not in (*INDICES, DType.FLOAT):
        return no(f"there is no kernel for indices of type {index.dtype}", "dtype")
    return None if values.dtype in ONE_HOT else no(f"there is no kernel for elements of type {values.dtype}", "dtype")


@emits(OneHot, dtypes=None, when=_depth_known)
def one_hot(e: Emitter, node: Node) -> None:
    op, index, depth, values = node.op, *node.inputs
    assert isinstance(op, OneHot) and index is not None and depth is not None and values is not None and index.rank is not None
    number = depth.ints[0] if depth.ints is not None else int(depth.data.numpy().reshape(-1)[0])  # type: ignore[union-attr]
    places = e.operand(index) if index.dtype in INDICES else e.cast(e.operand(index), DType.INT64)
    if not never_negative(index):
        dtype = e.dtype(places)
        shifted = e.binary("ADD", places, e.number(number, dtype), fusedActivationFunction=0)
        negative = e.binary("LESS", places, e.number(0, dtype), DType.BOOL)
        chosen = e.temporary(e.shape(places), dtype)
        e.op("SELECT_V2", [negative, shifted, places], [chosen])
        places = chosen
    off, on = (_pick(e, values, i) for i in (0, 1))
    axis = op.axis % (index.rank + 1)
    operands = [places, e.number(number, DType.INT32), on, off]
    e.op("ONE_HOT", operands, [e.result(node.output)], axis=-1 if axis == index.rank else axis)


def _pick(e: Emitter, values: Value, index: int) -> int:
    if values.data is not None:
        return e.constant(values.data.numpy().reshape(-1)[index])
    y = e.temporary([], e.dtype(e.operand(values)))
    e.op("GATHER", [e.operand(values), e.number(index, DType.INT32)], [y], axis=0)
    return y


@emits(Range, dtypes=NUMBERS)
def range_(e: Emitter, node: Node) -> None:
    e.op("RANGE", [e.operand(v) for v in node.inputs], [e.result(node.output)])


@emits(ConstantOfShape, dtypes=None, when=lambda node: None if node.output.dtype in ANY else f"no elements of type {node.output.dtype}")
def filled(e: Emitter, node: Node) -> None:
    op, shape = node.op, node.inputs[0]
    assert isinstance(op, ConstantOfShape) and shape is not None
    value = np.zeros((), np.float32) if op.value is None else op.value.numpy().reshape(())
    known = sizes(node.output)
    vector = vector_operand(e, shape) if None in known else e.ints([d for d in known if d is not None])
    e.op("FILL", [vector, e.constant(value)], [e.result(node.output)])
