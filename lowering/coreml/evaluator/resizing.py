"""Resizing images along their last axes.

The documentation does not say how the nearest neighbour is found; the tests of coremltools, which Apple runs on devices, show it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined, unsupported
from .registry import operator
from .shaping import axis_list
from .values import Array


def grid(mode: str, length: int, size: int) -> Array:
    """Where in ``0 .. length - 1`` the ``size`` samples of a sampling mode lie, in float64.

    The formulas are those of the documentation of ``resize_bilinear``; a spacing of zero by zero counts as zero.
    """
    steps = np.arange(size, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if size == 1:
            places = np.array([(length - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0])
        else:
            places = steps * (length - 1) / (size - 1)
    elif mode == "DEFAULT":
        places = steps * length / size
    elif mode == "OFFSET_CORNERS":
        places = (steps + 0.5) * max(1, length - 1) / size
    elif mode == "UNALIGN_CORNERS":
        places = (steps + 0.5) * length / size - 0.5
    else:
        unsupported(f"its sampling_mode is '{mode}'")
    return np.clip(places, 0, length - 1)


def linear(x: Array, places: Array, axis: int) -> Array:
    """Linear interpolation at positions inside an axis."""
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, x.shape[axis] - 1)
    weight = (places - below).astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1 - axis % x.ndim))
    low = np.take(x, below, axis)
    return low + (np.take(x, above, axis) - low) * weight


def nearest(x: Array, size: int, axis: int) -> Array:
    """The elements under the centres of ``size`` equal parts of an axis (as TensorFlow does with half-pixel centres)."""
    length = x.shape[axis]
    return np.take(x, (2 * np.arange(size) + 1) * length // (2 * size), axis)


def _bilinear(x: Array, height: int, width: int, mode: str) -> Array:
    y = x if height == x.shape[-2] and mode != "OFFSET_CORNERS" else linear(x, grid(mode, x.shape[-2], height), -2)
    return y if width == x.shape[-1] and mode != "OFFSET_CORNERS" else linear(y, grid(mode, x.shape[-1], width), -1)


@operator("resize_bilinear")
def resize_bilinear(x: Array, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT") -> Array:
    return _bilinear(x, int(target_size_height), int(target_size_width), sampling_mode)


def _scaled(x: Array, height: Any, width: Any) -> tuple[int, int]:
    """The sizes that scale factors give, rounded down in float32."""
    factors = np.asarray(height), np.asarray(width)
    return int(np.floor(factors[0] * x.shape[-2])), int(np.floor(factors[1] * x.shape[-1]))


@operator("upsample_bilinear")
def upsample_bilinear(
    x: Array, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True, half_pixel_centers: Any = None
) -> Array:
    """Bilinear resizing whose spacing follows from the sizes, not from the scale factors."""
    aligned = bool(align_corners)
    centred = not aligned if half_pixel_centers is None else bool(half_pixel_centers)
    if aligned and centred:
        undefined("align_corners and half_pixel_centers exclude each other")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if centred else "DEFAULT"
    return _bilinear(x, *_scaled(x, scale_factor_height, scale_factor_width), mode)


@operator("resize_nearest_neighbor", moves=True)
def resize_nearest_neighbor(x: Array, target_size_height: Any, target_size_width: Any) -> Array:
    return nearest(nearest(x, int(target_size_height), -2), int(target_size_width), -1)


@operator("upsample_nearest_neighbor", moves=True)
def upsample_nearest_neighbor(x: Array, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Array:
    """The elements at the begins of equal parts of an axis, as many as the sizes say: the scale only decides the size."""
    y = x
    for axis, size in zip((-2, -1), _scaled(x, scale_factor_height, scale_factor_width), strict=True):
        y = np.take(y, np.arange(size) * x.shape[axis] // size, axis)
    return y


@operator("resize")
def resize(x: Array, shape: Any, resized_dims: Any, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT") -> Array:
    """Resize the last axes to the last sizes of ``shape``; a size of zero keeps the axis."""
    count = int(resized_dims)
    sizes = axis_list(shape)
    y = x
    for axis, size in zip(range(x.ndim - count, x.ndim), sizes[len(sizes) - count :], strict=True):
        size = size or x.shape[axis]
        if interpolation_mode == "NEAREST_NEIGHBOR":
            if sampling_mode != "DEFAULT":
                undefined(f"the documentation does not say which element is the nearest in mode '{sampling_mode}'")
            y = nearest(y, size, axis)
        elif interpolation_mode == "LINEAR":
            if x.dtype.kind != "f":
                undefined("the documentation does not say how interpolated integers are rounded")
            y = linear(y, grid(sampling_mode, x.shape[axis], size), axis)
        else:
            unsupported(f"its interpolation_mode is '{interpolation_mode}'")
    return y
