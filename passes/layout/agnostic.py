"""Operators that keep the axes of their operand: elementwise ones, and those that work along stated axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ...ir.op import Op
from ...ir.ops.activation import Clip, Hardmax
from ...ir.ops.cast import CastLike
from ...ir.ops.concat import Concat, Pad, Split
from ...ir.ops.elementwise import Binary, Unary
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...ir.ops.reduction import Cumulative
from ...ir.ops.reshape import Expand, Tile, Unsqueeze
from ...ir.ops.selection import TopK
from ...ir.ops.slice import Slice
from ...ir.ops.softmax import AlongAxis
from .alternate import Alternate, Builder, Port, alternates
from .forms import Form, Perm, Shuffle, count_of


def plain_perm(port: Port) -> Perm | None:
    """The permutation that is wanted, None when a shuffle is."""
    return port.form.perm if port.form.shuffle is None else None


def static_ints(node: Node, index: int) -> tuple[int, ...] | None:
    """An operand whose integers are all known."""
    value = node.operand(index)
    return value.ints if value is not None else None


def rebuilt(op: Op, node: Node) -> Any:
    """A build function that applies ``op`` to the operands as they come."""
    count = len(node.outputs)
    return lambda b, operands: b.add(op, *operands, outputs=count)


def data_alternate(node: Node, form: Form, op: Op, gain: int = 0) -> Alternate:
    """One data operand and results, all in one form; further operands as written."""
    return Alternate((form, *(None,) * (len(node.inputs) - 1)), (form,) * len(node.outputs), rebuilt(op, node), gain)


# -- elementwise ---------------------------------------------------------------------------------------------------------------
def elementwise(node: Node, port: Port) -> Alternate | None:
    """Broadcasting operators; operands of lower rank are permuted alike and given axes of size 1 where needed."""
    if node.op.domain:
        return None
    shape = node.output.shape
    assert shape is not None
    rank = len(shape)
    touched = node.output if port.is_result else node.inputs[port.index]
    assert touched is not None
    if touched.rank != rank or rank < 2:
        return None
    scalars = 1 if isinstance(node.op, Clip | CastLike) else len(node.inputs)
    operands: list[Form | None] = []
    for index, value in enumerate(node.inputs):
        if value is None or index >= scalars or value.rank == 0:
            operands.append(None)
            continue
        form = _aligned_form(value, port.form, shape)
        if form is None:
            return None
        operands.append(form)
    forms = tuple(operands)

    def build(b: Builder, given: Sequence[Any]) -> Any:
        spread = [v if f is None else _spread(b, v, f, port.form.perm, rank) for v, f in zip(given, forms, strict=True)]
        return b.add(node.op, *spread)

    return Alternate(forms, (port.form,), build)


def _aligned_form(value: Value, form: Form, shape: Sequence[Any]) -> Form | None:
    """The form of an operand that broadcasts to a result of ``shape`` in ``form``; None when it cannot be told."""
    rank, own = len(shape), value.shape
    assert own is not None
    missing = rank - len(own)
    if missing < 0:
        return None
    perm = tuple(axis - missing for axis in form.perm if axis >= missing)
    shuffle = form.shuffle
    if shuffle is not None:
        axis = shuffle.axis - missing
        if axis < 0 or own[axis] == 1:
            shuffle = None
        elif own[axis] != shape[shuffle.axis]:
            return None
        else:
            shuffle = Shuffle(axis, shuffle.dims, shuffle.order)
    return Form(perm, shuffle)


def _spread(b: Builder, value: Value, form: Form, perm: Perm, rank: int) -> Value:
    """Insert the axes of size 1 that an operand of lower rank needs between its own."""
    missing = rank - len(form.perm)
    ones = [place for place, axis in enumerate(perm) if axis < missing]
    if ones == list(range(missing)):
        return value
    if value.data is not None:
        return b.array(np.expand_dims(value.data.numpy(), tuple(ones)), value)
    return b.add(Unsqueeze(), value, b.ints(ones))


alternates(Unary, Binary)(elementwise)


@alternates(Op)
def other(node: Node, port: Port) -> Alternate | None:
    """Whatever says of itself that it is elementwise."""
    return elementwise(node, port) if node.op.elementwise and len(node.outputs) == 1 else None


# -- along an axis -------------------------------------------------------------------------------------------------------------
@alternates(AlongAxis, Hardmax)
def along_axis(node: Node, port: Port) -> Alternate | None:
    """Softmax and the like; kernels work along the last axis, so another one costs two transpositions."""
    perm, op = plain_perm(port), node.op
    if perm is None:
        return None
    assert isinstance(op, AlongAxis | Hardmax)
    rank = len(perm)
    axis = port.form.position(op.axis, rank)
    moved = 2 * bytes_of(node.output)
    gain = moved * ((axis == rank - 1) - (op.axis % rank == rank - 1))
    return data_alternate(node, port.form, replace(op, axis=axis), gain)  # type: ignore[type-var]


def bytes_of(value: Value) -> int:
    """A representative size of a value in bytes."""
    assert value.shape is not None and value.dtype is not None
    return max(count_of(value.shape) * max(value.dtype.bits, 8) // 8, 16)


@alternates(Concat)
def concat(node: Node, port: Port) -> Alternate | None:
    """Concat along the moved axis."""
    op = node.op
    assert isinstance(op, Concat)
    if plain_perm(port) is None:
        return None
    op = replace(op, axis=port.form.position(op.axis))
    return Alternate((port.form,) * len(node.inputs), (port.form,), rebuilt(op, node))


@alternates(Split)
def split(node: Node, port: Port) -> Alternate | None:
    """Split along the moved axis."""
    op = node.op
    assert isinstance(op, Split)
    return None if plain_perm(port) is None else data_alternate(node, port.form, replace(op, axis=port.form.position(op.axis)))


@alternates(TopK)
def top_k(node: Node, port: Port) -> Alternate | None:
    """TopK along the moved axis."""
    op = node.op
    assert isinstance(op, TopK)
    return None if plain_perm(port) is None else data_alternate(node, port.form, replace(op, axis=port.form.position(op.axis)))


@alternates(Cumulative)
def cumulative(node: Node, port: Port) -> Alternate | None:
    """CumSum and CumProd along the moved axis."""
    axis = static_ints(node, 1)
    if plain_perm(port) is None or axis is None:
        return None
    place = np.asarray(port.form.position(axis[0]), np.int64)

    def build(b: Builder, given: Sequence[Any]) -> Any:
        return b.add(node.op, given[0], b.array(place, b.ints([0])))

    return Alternate((port.form, None), (port.form,), build)


@alternates(Slice)
def slice_(node: Node, port: Port) -> Alternate | None:
    """Slice along the moved axes."""
    if plain_perm(port) is None:
        return None
    starts = node.inputs[1]
    if node.operand(3) is not None:
        axes = static_ints(node, 3)
    else:
        axes = tuple(range(starts.shape[0])) if starts is not None and starts.shape else None
    if axes is None:
        return None
    places = [port.form.position(a) for a in axes]

    def build(b: Builder, given: Sequence[Any]) -> Any:
        return b.add(node.op, given[0], given[1], given[2], b.ints(places), *given[4:])

    return Alternate((port.form, *(None,) * (len(node.inputs) - 1)), (port.form,), build)


@alternates(Pad)
def pad(node: Node, port: Port) -> Alternate | None:
    """Pad of the moved axes."""
    perm = plain_perm(port)
    axes = static_ints(node, 3) if node.operand(3) is not None else tuple(range(len(port.form.perm)))
    if perm is None or axes is None:
        return None
    rank = len(perm)
    pads = static_ints(node, 1)

    def build(b: Builder, given: Sequence[Any]) -> Any:
        if pads is None:
            return b.add(node.op, given[0], given[1], given[2] if len(given) > 2 else None, b.ints([perm.index(a % rank) for a in axes]))
        before, after = [0] * rank, [0] * rank
        for index, axis in enumerate(axes):
            before[perm.index(axis % rank)], after[perm.index(axis % rank)] = pads[index], pads[index + len(axes)]
        return b.add(node.op, given[0], b.ints(before + after), *given[2:3])

    return Alternate((port.form, *(None,) * (len(node.inputs) - 1)), (port.form,), build)


@alternates(QuantizeLinear, DequantizeLinear)
def quantization(node: Node, port: Port) -> Alternate | None:
    """Quantisation per tensor, per (moved) axis, or in blocks of a constant scale."""
    op, scale = node.op, node.inputs[1]
    assert isinstance(op, QuantizeLinear | DequantizeLinear) and scale is not None
    form, rank = port.form, len(port.form.perm)
    if scale.shape in ((), (1,)):
        return data_alternate(node, form, op)
    if form.shuffle is not None or not -rank <= op.axis < rank:
        return None
    blocked = scale.rank == rank and rank > 1
    inner = form if blocked else None
    op = replace(op, axis=form.position(op.axis))
    return Alternate((form, *(inner if v is not None else None for v in node.inputs[1:])), (form,), rebuilt(op, node))


# -- sizes as operands ---------------------------------------------------------------------------------------------------------
def permuted_list(b: Builder, value: Value, perm: Sequence[int]) -> Value:
    """A vector of one integer per axis, in the order of the moved axes."""
    from ...ir.ops.gather import Gather

    if value.data is not None:
        return b.array(value.data.numpy()[list(perm)], value)
    return b.add(Gather(axis=0), value, b.ints(perm))


@alternates(Expand, Tile)
def expand(node: Node, port: Port) -> Alternate | None:
    """Expand and Tile with the list of sizes in the order of the moved axes."""
    perm, x, sizes = plain_perm(port), node.inputs[0], node.inputs[1]
    assert x is not None and sizes is not None
    if perm is None or x.rank != len(perm) or sizes.shape != (len(perm),) or node.output.rank != len(perm):
        return None

    def build(b: Builder, given: Sequence[Any]) -> Any:
        return b.add(node.op, given[0], permuted_list(b, given[1], perm))

    return Alternate((port.form, None), (port.form,), build)
