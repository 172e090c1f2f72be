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


def concatenated(e: Emitter, vectors: Sequence[int]) -> int:
    """Vectors one after the other."""
    if len(vectors) == 1:
        return vectors[0]
    length = [e.shape(v)[0] for v in vectors]
    y = e.temporary([None if None in length else sum(n for n in length if n is not None)], e.dtype(vectors[0]))
    e.op("CONCATENATION", vectors, [y], axis=0, fusedActivationFunction=0)
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


def reshape_to(e: Emitter, x: int, target: Value, shape: Value | None = None) -> None:
    """Write ``target``, which has the elements of the tensor ``x`` in its own shape.

    Args:
        shape: the operand that gives the shape at run time, when nothing else does.
    """
    known = sizes(target)
    if known.count(None) <= 1:
        e.reshape_into(x, e.result(target), known)
        return
    assert target.shape is not None
    vector = e.shape_vector(target.shape)
    if vector is None and shape is not None:
        vector = vector_operand(e, shape)
    if vector is None:
        raise KeyError(f"the shape of '{target.name}' cannot be computed")
    e.op("RESHAPE", [x, vector], [e.result(target)])


def can_reshape(source: Value, target: Value, shape: Value | None, zero_keeps: bool = False) -> bool:
    """Whether `reshape_to` finds the sizes of its target.

    Args:
        zero_keeps: whether a zero of the shape operand stands for a size of the source, which the kernel does not know.
    """
    if source.shape is None or target.shape is None:
        return False
    known = sizes(target)
    if known.count(None) <= 1 and 0 not in known:
        return True
    if all(isinstance(d, int) or d in source.shape for d in target.shape):
        return True
    if shape is None:
        return False
    content = shape.content
    return not zero_keeps or content is not None and all(c is not None and c != 0 for c in content)
