"""Tensors made from parameters, and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined
from .registry import Call, operator
from .shaping import axis_list
from .values import Array


@operator("fill", moves=True)
def fill(shape: Any, value: Any = 0.0) -> Array:
    return _full(axis_list(shape), value)


@operator("fill_like", moves=True)
def fill_like(ref_tensor: Array, value: Any = 0.0) -> Array:
    return _full(ref_tensor.shape, value)


def _full(shape: tuple[int, ...], value: Any) -> Array:
    return np.full(shape, np.float32(value) if isinstance(value, float) else value)


@operator("range_1d")
def range_1d(end: Array, start: Array, step: Array) -> Array:
    """From start on by steps, up to but without the end."""
    if float(step) == 0:
        undefined("the step is zero")
    count = max(int(np.ceil((np.float64(end) - np.float64(start)) / np.float64(step))), 0)
    return np.asarray(start + step * np.arange(count).astype(start.dtype), start.dtype)


@operator("one_hot", moves=True)
def one_hot(indices: Array, one_hot_vector_size: Any, call: Call, axis: Any = -1, on_value: Any = 1, off_value: Any = 0) -> Array:
    """One value at each index along a new axis, another elsewhere."""
    size = int(one_hot_vector_size)
    if indices.size and not bool(((indices >= 0) & (indices < size)).all()):
        undefined(f"an index lies outside of 0..{size - 1}")
    element = call.outputs[0].element
    stored = np.asarray(on_value).dtype if element is None else element.stored
    place = int(axis) % (indices.ndim + 1)
    hot = np.expand_dims(indices, place) == np.arange(size).reshape(-1, *(1,) * (indices.ndim - place))
    return np.where(hot, np.asarray(on_value, stored), np.asarray(off_value, stored))


@operator("cumsum")
def cumsum(x: Array, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Array:
    """Running sums along an axis, of the elements up to each one or before it, from the front or from the back."""
    place = int(axis) % x.ndim
    values = np.flip(x, place) if bool(reverse) else x
    total = np.cumsum(values, place, dtype=x.dtype)
    if bool(exclusive):
        total = np.roll(total, 1, place)
        total[(slice(None),) * place + (slice(0, 1),)] = 0
    return np.flip(total, place) if bool(reverse) else total
