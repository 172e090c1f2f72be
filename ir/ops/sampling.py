"""Reading images at fractional positions: nearest, linear and cubic interpolation in any number of dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .numerics import Array

Taps = list[tuple[Array, Array]]  # per neighbour: integer positions and weights


def nearest_taps(position: Array) -> Taps:
    """The nearest element, halves to even."""
    return [(np.rint(position).astype(np.int64), np.ones_like(position))]


def linear_taps(position: Array) -> Taps:
    """The two elements around each position."""
    low = np.floor(position)
    fraction = position - low
    index = low.astype(np.int64)
    return [(index, 1 - fraction), (index + 1, fraction)]


def cubic_taps(position: Array, a: float = -0.75) -> Taps:
    """The four elements around each position with Keys' cubic weights."""
    low = np.floor(position)
    fraction = position - low
    index = low.astype(np.int64)
    taps: Taps = []
    for offset in (-1, 0, 1, 2):
        distance = np.abs(fraction - offset)
        if offset in (0, 1):
            weight = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        else:
            weight = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        taps.append((index + offset, weight.astype(position.dtype)))
    return taps


def reflected(position: Array, low: float, high: float) -> Array:
    """Positions mirrored at the two borders until they lie between them."""
    span = high - low
    if span <= 0:
        return np.full_like(position, low)
    distance = np.abs(position - low) % (2 * span)
    return low + np.where(distance > span, 2 * span - distance, distance)


def read(x: Array, taps: Sequence[Taps], padding: str = "zeros", borders: Sequence[tuple[float, float]] = ()) -> Array:
    """The weighted sum of the elements under the taps of every axis.

    Args:
        x: ``[batch, channels, *spatial]``.
        taps: per spatial axis the neighbours; each array has the shape ``[batch, *positions]``.
        padding: what lies outside: ``zeros``, the ``border`` elements, or the image's ``reflection``.
        borders: per axis where the reflection happens.

    Returns:
        ``[batch, channels, *positions]``.
    """
    batch, channels, *spatial = x.shape
    flat = x.reshape(batch, channels, math.prod(spatial))
    places = taps[0][0][0].shape
    result = np.zeros((batch, channels, math.prod(places[1:])), x.dtype)
    for combination in itertools.product(*taps):
        linear: Any = 0
        weight: Any = 1
        for axis, ((index, factor), size) in enumerate(zip(combination, spatial, strict=True)):
            if padding == "reflection":
                index = reflected(index.astype(np.float64), *borders[axis]).astype(np.int64)
            inside = np.clip(index, 0, size - 1)
            weight = weight * (factor if padding != "zeros" else np.where(index == inside, factor, 0))
            linear = linear * size + inside
        chosen = np.take_along_axis(flat, linear.reshape(batch, 1, -1), axis=2)
        result += chosen * weight.reshape(batch, 1, -1).astype(x.dtype)
    return result.reshape(batch, channels, *places[1:])
