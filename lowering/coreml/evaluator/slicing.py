"""Slices of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined
from .registry import operator
from .shaping import axis_list
from .values import Array


def _index(x: Array, begin: Any, end: Any, stride: Any, begin_mask: Any, end_mask: Any, squeeze_mask: Any) -> tuple[Any, ...]:
    """The index that the operands of a slice stand for; squeezed axes hold a single position."""
    rank = x.ndim
    begins, ends = axis_list(begin), axis_list(end)
    strides = (1,) * rank if stride is None else axis_list(stride)
    masks = [
        (False,) * rank if m is None else tuple(bool(v) for v in np.asarray(m).reshape(-1)) for m in (begin_mask, end_mask, squeeze_mask)
    ]
    if any(len(v) != rank for v in (begins, ends, strides, *masks)):
        undefined(f"its bounds do not fit an input of rank {rank}")
    index: list[Any] = []
    for axis in range(rank):
        open_begin, open_end, single = (m[axis] for m in masks)
        if single:
            place = 0 if open_begin else begins[axis]
            if not -x.shape[axis] <= place < x.shape[axis]:
                undefined(f"position {place} lies outside of the {x.shape[axis]} elements of axis {axis}")
            index.append(place)
        else:
            index.append(slice(None if open_begin else begins[axis], None if open_end else ends[axis], strides[axis]))
    return tuple(index)


@operator("slice_by_index", moves=True)
def slice_by_index(
    x: Array,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:
    """A slice with numpy's rules for negative positions and strides; squeezed axes disappear."""
    return np.asarray(x[_index(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)])


@operator("slice_update", moves=True)
def slice_update(
    x: Array,
    update: Array,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:
    """A copy with a slice replaced."""
    index = _index(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    if x[index].shape != update.shape or x.dtype != update.dtype:
        undefined(f"a slice {x.dtype}{list(x[index].shape)} cannot take {update.dtype}{list(update.shape)}")
    result = x.copy()
    result[index] = update
    return result


@operator("slice_by_size", moves=True)
def slice_by_size(x: Array, begin: Any, size: Any) -> Array:
    """A slice of stated sizes, -1 for all that is left."""
    index = []
    for axis, (first, count) in enumerate(zip(axis_list(begin), axis_list(size), strict=True)):
        length = x.shape[axis]
        first = first + length if first < 0 else first
        last = length if count == -1 else first + count
        if not 0 <= first <= last <= length:
            undefined(f"{count} elements from {first} on lie outside of the {length} of axis {axis}")
        index.append(slice(first, last))
    if len(index) != x.ndim:
        undefined(f"its bounds do not fit an input of rank {x.ndim}")
    return x[tuple(index)]


@operator("crop", moves=True)
def crop(x: Array, crop_height: Any, crop_width: Any) -> Array:
    """Take rows and columns off the borders of the last two axes."""
    (top, bottom), (left, right) = axis_list(crop_height), axis_list(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@operator("band_part", moves=True)
def band_part(x: Array, lower: Any = -1, upper: Any = -1) -> Array:
    """Zero outside of a band around the diagonal of the last two axes; a negative width keeps that side."""
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
    keep = np.ones((x.shape[-2], x.shape[-1]), bool)
    if int(lower) >= 0:
        keep &= rows - columns <= int(lower)
    if int(upper) >= 0:
        keep &= columns - rows <= int(upper)
    return np.where(keep, x, x.dtype.type(0))
