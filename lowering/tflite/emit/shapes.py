"""Shapes that are known in part: reshapes whose target is computed at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Value
from ..emitter import Emitter
from .conditions import sizes

INT32_MAX = 2**31 - 1


def joined(e: Emitter, parts: Sequence[int], axis: int) -> int:
    """Tensors one after the other along an axis; the tensor itself when there is one."""
    if len(parts) == 1:
        return parts[0]
    shape = list(e.shape(parts[0]))
    lengths = [e.shape(p)[axis] for p in parts]
    shape[axis] = None if None in lengths else sum(n for n in lengths if n is not None)
    y = e.temporary(shape, e.dtype(parts[0]))
    e.op("CONCATENATION", parts, [y], axis=axis, fusedActivationFunction=0)
    return y


def gathered(e: Emitter, vector: int, index: Sequence[int]) -> int:
    """Some elements of a vector."""
    if list(index) == list(range(e.shape(vector)[0] or 0)):
        return vector
    y = e.temporary([len(index)], e.dtype(vector))
    e.op("GATHER", [vector, e.ints(index)], [y], axis=0)
    return y


def narrowed(e: Emitter, tensor: int) -> int:
    """Integers as int32; what lies beyond is clamped."""
    if e.dtype(tensor) is DType.INT32:
        return tensor
    if e.dtype(tensor) is DType.INT64:
        tensor = e.binary("MINIMUM", tensor, e.number(INT32_MAX, DType.INT64))
        tensor = e.binary("MAXIMUM", tensor, e.number(-INT32_MAX, DType.INT64))
    return e.cast(tensor, DType.INT32)


def vector_operand(e: Emitter, value: Value) -> int:
    """An integer operand as a vector of int32, a constant when it is known."""
    known = value.ints
    if known is not None:
        return e.ints([max(min(i, INT32_MAX), -INT32_MAX) for i in known])
    tensor = narrowed(e, e.operand(value))
    return tensor if len(e.shape(tensor)) == 1 else e.reshaped(tensor, [-1 if None in e.shape(tensor) else _count(e.shape(tensor))])


def _count(shape: Sequence[Any]) -> int:
    return int(np.prod([1, *shape]))


def scalar_operand(e: Emitter, value: Value, dtype: DType) -> int:
    """A one-element operand as a scalar of an element type."""
    if value.ints is not None:
        return e.number(value.ints[0], dtype)
    tensor = e.operand(value)
    if len(e.shape(tensor)):
        tensor = e.reshaped(tensor, [])
    return narrowed(e, tensor) if dtype is DType.INT32 else e.cast(tensor, dtype)


def reshape_plan(source: Value, target: Value, shape: Value | None = None, zero_keeps: bool = False) -> str | None:
    """Where the sizes of a reshaped tensor come from: ``known`` (but for at most one), ``sizes`` of tensors (likewise), the ``operand``.

    None when they cannot be had.

    Args:
        shape: the operand that gives the shape at run time.
        zero_keeps: whether a zero there stands for a size of the source, which the kernel does not know.
    """
    if source.shape is None or target.shape is None:
        return None
    if sizes(target).count(None) <= 1:
        return "known"
    if sum(not isinstance(d, int) and d not in source.shape for d in target.shape) <= 1:
        return "sizes"
    if shape is None:
        return None
    content = shape.content
    return "operand" if not zero_keeps or content is not None and all(c is not None and c != 0 for c in content) else None


def reshape_to(e: Emitter, x: int, source: Value, target: Value, shape: Value | None = None, zero_keeps: bool = False) -> None:
    """Write ``target``, which has the elements of the tensor ``x`` in its own shape; the further arguments are those of `reshape_plan`."""
    plan = reshape_plan(source, target, shape, zero_keeps)
    if plan == "known":
        e.reshape_into(x, e.result(target), sizes(target))
        return
    assert source.shape is not None and target.shape is not None and plan is not None
    if plan == "operand":
        assert shape is not None
        vector = vector_operand(e, shape)
    else:
        known = e.shape_vector(target.shape)
        if known is None:
            known = e.shape_vector([d if isinstance(d, int) or d in source.shape else -1 for d in target.shape])
        assert known is not None, target
        vector = known
    e.op("RESHAPE", [x, vector], [e.result(target)])
