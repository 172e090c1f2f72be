"""Resizing by interpolation. Every mode is separable, so each axis is one index map or one small matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..dims import Dim
from ..op import Op
from ..types import TensorType
from .common import attribute_error, format_shape, normalize_axes, shape_error
from .numerics import Array, rounded, widened
from .operands import shape_of, unresolved

_MODES = ("nearest", "linear", "cubic")
_POLICIES = ("stretch", "not_larger", "not_smaller")
_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)


def scaled_dim(dim: Dim | None, scale: float | None) -> Dim | None:
    """``floor(dim * scale)``, computed in float32 for an integer and exactly for a symbol (None when that is not simple)."""
    if dim is None or scale is None:
        return None
    if type(dim) is int:
        return int(np.float32(dim) * np.float32(scale))
    ratio = Fraction(scale)
    return dim * ratio.numerator // ratio.denominator if ratio.denominator <= 64 else None


@dataclass(frozen=True)
class Resize(Op):
    """Resample a tensor to given sizes or by given scales."""

    antialias: int = 0
    axes: tuple[int, ...] | None = None
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"
    since = 10
    shape_operands = (1, 2, 3)

    def infer(
        self,
        x: TensorType,
        roi: TensorType | None = None,
        scales: TensorType | None = None,
        sizes: TensorType | None = None,
    ) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        for value, choices in (
            (self.mode, _MODES),
            (self.keep_aspect_ratio_policy, _POLICIES),
            (self.coordinate_transformation_mode, _COORDINATES),
        ):
            if value not in choices:
                raise attribute_error(f"{value!r} is not possible", hint="choose one of: " + ", ".join(choices))
        shape = x.shape
        if shape is None:
            return TensorType(x.dtype, None)
        if (scales is None or shape_of(scales) == (0,)) and sizes is None:
            raise shape_error("either scales or sizes must be given")
        axes = normalize_axes(self.axes, len(shape)) if self.axes else tuple(range(len(shape)))
        result: list[Any] = list(shape)
        factors, wanted = self._parameters(scales, sizes, len(axes), shape)
        if wanted is not None:
            for axis, size in zip(axes, self._fitted([shape[a] for a in axes], wanted), strict=True):
                result[axis] = size
        else:
            for axis, factor in zip(axes, factors or (None,) * len(axes), strict=True):
                result[axis] = scaled_dim(shape[axis], factor)
        return TensorType(x.dtype, tuple(result))

    @staticmethod
    def _parameters(scales: Any, sizes: Any, count: int, shape: Any) -> tuple[Any, Any]:
        """The scales and the sizes as far as they are known, checked for their number."""
        for name, operand in (("scales", scales), ("sizes", sizes)):
            own = shape_of(operand)
            if own and type(own[0]) is int and own[0] not in (0, count):
                raise shape_error(f"{name} has {own[0]} elements for {count} axes of {format_shape(shape)}")
        if sizes is not None and shape_of(sizes) != (0,):
            content = sizes.content if type(sizes) is TensorType else None
            return None, content if content is not None else (None,) * count
        return (scales.numbers or None) if type(scales) is TensorType else None, None

    def _fitted(self, spatial: Sequence[Any], sizes: Sequence[Any]) -> Sequence[Any]:
        """The sizes after keep_aspect_ratio_policy."""
        if self.keep_aspect_ratio_policy == "stretch":
            return sizes
        if not all(type(n) is int and n for n in spatial) or not all(type(n) is int for n in sizes):
            return (None,) * len(sizes)
        scale = self._common_scale(spatial, sizes)
        return tuple(int(np.floor(scale * n + 0.5)) for n in spatial)

    def _common_scale(self, spatial: Sequence[int], sizes: Sequence[int]) -> float:
        ratios = [size / n for size, n in zip(sizes, spatial, strict=True)]
        return min(ratios) if self.keep_aspect_ratio_policy == "not_larger" else max(ratios)

    def evaluate(self, x: Array, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None) -> Array:
        axes = normalize_axes(self.axes, x.ndim) if self.axes else tuple(range(x.ndim))
        spatial = [x.shape[a] for a in axes]
        if sizes is not None and sizes.size:
            wanted = [int(n) for n in sizes]
            factors = [size / n for size, n in zip(wanted, spatial, strict=True)]
            if self.keep_aspect_ratio_policy != "stretch":
                factors = [self._common_scale(spatial, wanted)] * len(axes)
                wanted = list(self._fitted(spatial, wanted))
        elif scales is not None:
            factors = [float(s) for s in scales]
            wanted = [int(np.float32(n) * np.float32(f)) for n, f in zip(spatial, factors, strict=True)]
        else:
            raise shape_error("either scales or sizes must be given")
        y, outside = (x if self.mode == "nearest" else widened(x)), None
        if self.mode != "nearest" and y.dtype.kind in "iub":
            y = y.astype(np.float32)
        cropping = self.coordinate_transformation_mode == "tf_crop_and_resize"
        for i, axis in enumerate(axes):
            if wanted[i] == spatial[i] and factors[i] == 1 and not cropping:
                continue
            begin, end = (float(roi[i]), float(roi[i + len(axes)])) if cropping and roi is not None else (0.0, 1.0)
            places = self._positions(wanted[i], spatial[i], factors[i], begin, end)
            if cropping:
                beyond = ((places < 0) | (places > spatial[i] - 1)).reshape(-1, *(1,) * (x.ndim - 1 - axis))
                outside = beyond if outside is None else outside | beyond
            if self.mode == "nearest":
                y = np.take(y, self._nearest(places, factors[i], spatial[i]), axis=axis)
            else:
                weights = self._weights(places, factors[i], spatial[i]).astype(y.dtype)
                y = np.moveaxis(np.moveaxis(y, axis, -1) @ weights.T, -1, axis)
        if outside is not None:
            y = np.where(outside, y.dtype.type(self.extrapolation_value), y)
        if x.dtype.kind in "iu" and self.mode != "nearest":
            limits = np.iinfo(x.dtype)
            y = np.clip(np.round(y) if self.antialias else np.trunc(y), limits.min, limits.max)
        return rounded(np.ascontiguousarray(y), x.dtype)

    def axis_map(self, size: int, length: int, scale: float, begin: float = 0.0, end: float = 1.0) -> Array:
        """How one axis is resampled: for ``nearest`` the input index of each output element, else the matrix ``[size, length]``.

        Args:
            size: the output size.
            length: the input size.
            scale: their ratio as the operator states it.
            begin: where the region of interest begins (``tf_crop_and_resize``).
            end: where it ends.
        """
        places = self._positions(size, length, scale, begin, end)
        return self._nearest(places, scale, length) if self.mode == "nearest" else self._weights(places, scale, length)

    def outside(self, size: int, length: int, scale: float, begin: float, end: float) -> Array:
        """Which output elements of an axis lie outside the input (``tf_crop_and_resize``)."""
        places = self._positions(size, length, scale, begin, end)
        return (places < 0) | (places > length - 1)

    def _positions(self, size: int, length: int, scale: float, begin: float, end: float) -> Array:
        """The position in the input of each output element."""
        steps, mode = np.arange(size, dtype=np.float64), self.coordinate_transformation_mode
        resized = scale * length
        if mode == "align_corners":
            return steps * 0 if resized == 1 else steps * (length - 1) / (resized - 1)
        if mode == "asymmetric":
            return steps / scale
        if mode == "tf_crop_and_resize":
            if size > 1:
                return begin * (length - 1) + steps * (end - begin) * (length - 1) / (size - 1)
            return np.full(size, 0.5 * (begin + end) * (length - 1))
        if mode == "pytorch_half_pixel" and size == 1:
            return np.zeros(1)
        places = (steps + 0.5) / scale - 0.5
        if mode == "half_pixel_symmetric":
            return places + length / 2 * (1 - size / resized)
        return places

    def _nearest(self, places: Array, scale: float, length: int) -> Array:
        near = np.round(places, 6)  # sizes are ratios of integers: differences this small are rounding of the division
        if self.nearest_mode == "round_prefer_floor":
            chosen = np.ceil(near - 0.5)
        elif self.nearest_mode == "round_prefer_ceil":
            chosen = np.floor(near + 0.5)
        elif self.nearest_mode == "floor":
            chosen = np.floor(near)
        elif self.nearest_mode == "ceil":
            chosen = np.ceil(near)
        else:
            raise attribute_error(f"nearest_mode is {self.nearest_mode!r}")
        return np.clip(chosen, 0, length - 1).astype(np.int64)

    def _weights(self, places: Array, scale: float, length: int) -> Array:
        """The interpolation matrix ``[output size, input size]`` of one axis."""
        squeeze = min(scale, 1.0) if self.antialias else 1.0
        reach = 1 if self.mode == "linear" else 2
        first = int(np.floor(-reach / squeeze)) + 1
        taps = np.arange(first, 2 - first)
        base = np.floor(places)
        base = np.where(base == places, base - 1, base)  # the nearest element on the left
        distance = (taps[None, :] - (places - base)[:, None]) * squeeze
        coefficients = self._kernel(np.abs(distance))
        cells = (base[:, None] + taps[None, :]).astype(np.int64)
        if self.exclude_outside:
            coefficients = np.where((cells < 0) | (cells >= length), 0, coefficients)
        if self.exclude_outside or self.antialias:
            coefficients = coefficients / coefficients.sum(axis=1, keepdims=True)
        matrix = np.zeros((len(places), length))
        rows = np.broadcast_to(np.arange(len(places))[:, None], cells.shape)
        np.add.at(matrix, (rows, np.clip(cells, 0, length - 1)), coefficients)
        return matrix

    def _kernel(self, distance: Array) -> Array:
        if self.mode == "linear":
            return np.clip(1 - distance, 0, 1)
        a = self.cubic_coeff_a
        inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        return np.where(distance <= 1, inner, np.where(distance < 2, outer, 0))
