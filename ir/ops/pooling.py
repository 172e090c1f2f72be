"""Pooling over sliding windows and over whole images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import attribute_error, dtype_error, format_shape, shape_error
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_equal, shape_of, unresolved
from .windows import explicit_pads, padded, per_axis, resolved_pads, taps, window_counts, window_view

_MAX_DTYPES = frozenset((DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE, DType.INT8, DType.UINT8))


def pool_shape(op: Any, x: Any) -> tuple[Any, ...] | None:
    """The result shape of a pooling operator from the shape ``[batch, channels, *spatial]`` of its input."""
    kernel = op.kernel_shape
    rank = len(kernel)
    if x is None:
        return (None,) * (rank + 2)
    if len(x) != rank + 2:
        raise shape_error(f"kernel_shape {list(kernel)} needs an input of rank {rank + 2}, not {format_shape(x)}")
    counts = window_counts(
        x[2:],
        kernel,
        per_axis(op.strides, rank, "strides"),
        per_axis(op.dilations, rank, "dilations"),
        explicit_pads(op.pads, rank, op.auto_pad),
        op.auto_pad,
        op.ceil_mode,
    )
    return (*x[:2], *counts)


@dataclass(frozen=True)
class _Layout:
    """The resolved geometry of a pooling over known sizes; ``overhang`` is what ceil_mode adds beyond the end pads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    overhang: tuple[int, ...]
    counts: tuple[int, ...]

    @staticmethod
    def of(op: Any, spatial: tuple[int, ...]) -> _Layout:
        rank, kernel = len(spatial), op.kernel_shape
        strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
        pads = resolved_pads(spatial, kernel, strides, dilations, op.pads, op.auto_pad)
        counts = window_counts(spatial, kernel, strides, dilations, pads, op.auto_pad, op.ceil_mode)
        overhang = tuple(
            max((counts[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - spatial[i] - pads[i] - pads[i + rank], 0)
            for i in range(rank)
        )
        return _Layout(kernel, strides, dilations, pads[:rank], pads[rank:], overhang, counts)

    def pad(self, x: Array, fill: Any) -> Array:
        return padded(x, self.begins, tuple(e + o for e, o in zip(self.ends, self.overhang, strict=True)), fill)

    def taps(self, x: Array) -> Any:
        return taps(x, self.kernel, self.strides, self.dilations, self.counts)

    def total(self, x: Array) -> Array:
        """The sum over each window of an input padded with zeros."""
        result = np.zeros((*x.shape[:2], *self.counts), x.dtype)
        for _, view in self.taps(self.pad(x, 0)):
            result += view
        return result

    def covered(self, spatial: tuple[int, ...], include_pads: bool) -> Array:
        """How many elements each window covers, with or without the pads (the overhang never counts)."""
        result = np.ones((1,) * len(spatial))
        for axis, size in enumerate(spatial):
            low = 0 if not include_pads else -self.begins[axis]
            high = size if not include_pads else size + self.ends[axis]
            starts = np.arange(self.counts[axis])[:, None] * self.strides[axis] - self.begins[axis]
            positions = starts + np.arange(self.kernel[axis]) * self.dilations[axis]
            count = ((positions >= low) & (positions < high)).sum(axis=1)
            result = result * count.reshape(-1, *(1,) * (len(spatial) - 1 - axis))
        return result


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


@dataclass(frozen=True)
class MaxPool(Op):
    """The greatest element of each window, and optionally its position in the flattened input."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    storage_order: int = 0
    strides: tuple[int, ...] | None = None

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if x.dtype not in _MAX_DTYPES:
            raise dtype_error(f"MaxPool does not take {x.dtype}")
        shape = pool_shape(self, x.shape)
        return TensorType(x.dtype, shape), TensorType(DType.INT64, shape)

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        layout = _Layout.of(self, x.shape[2:])
        rank, wide = x.ndim - 2, widened(x)
        filled = layout.pad(wide, _lowest(wide.dtype))
        windows = window_view(filled, layout.kernel, layout.strides, layout.dilations, layout.counts)
        flat = windows.reshape(*x.shape[:2], *layout.counts, -1)
        best = flat.argmax(axis=-1)
        y = np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]
        indices = np.zeros_like(best)
        scale = 1
        inside = np.unravel_index(best, layout.kernel)
        axes = range(rank) if self.storage_order else reversed(range(rank))
        for axis in axes:
            origin = np.arange(layout.counts[axis]) * layout.strides[axis] - layout.begins[axis]
            position = inside[axis] * layout.dilations[axis] + origin.reshape(-1, *(1,) * (rank - 1 - axis))
            indices += position * scale
            scale *= x.shape[2 + axis]
        images = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * rank)
        return rounded(y, x.dtype), (indices + images * scale).astype(np.int64)


@dataclass(frozen=True)
class AveragePool(Op):
    """The mean of each window; pads count only when count_include_pad is set."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    count_include_pad: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        return TensorType(float_dtype(x), pool_shape(self, x.shape))

    def evaluate(self, x: Array) -> Array:
        layout = _Layout.of(self, x.shape[2:])
        count = layout.covered(x.shape[2:], bool(self.count_include_pad))
        total = layout.total(widened(x))
        return rounded(total / np.maximum(count, 1).astype(total.dtype), x.dtype)


@dataclass(frozen=True)
class LpPool(Op):
    """The p-norm of each window."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    p: int = 2
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        return TensorType(float_dtype(x), pool_shape(self, x.shape))

    def evaluate(self, x: Array) -> Array:
        layout = _Layout.of(self, x.shape[2:])
        total = layout.total(np.abs(widened(x)) ** self.p)
        return rounded(total ** (1.0 / self.p), x.dtype)


class _GlobalPool(Op, abstract=True):
    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype, shape = float_dtype(x), x.shape
        if shape is None:
            return TensorType(dtype, None)
        if len(shape) < 2:
            raise shape_error(f"the input needs batch and channels, not {format_shape(shape)}")
        return TensorType(dtype, (*shape[:2], *(1,) * (len(shape) - 2)))


def _spatial_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@dataclass(frozen=True)
class GlobalAveragePool(_GlobalPool):
    """The mean over all spatial dimensions."""

    def evaluate(self, x: Array) -> Array:
        return rounded(widened(x).mean(axis=_spatial_axes(x), keepdims=True), x.dtype)


@dataclass(frozen=True)
class GlobalMaxPool(_GlobalPool):
    """The maximum over all spatial dimensions."""

    def evaluate(self, x: Array) -> Array:
        return rounded(widened(x).max(axis=_spatial_axes(x), keepdims=True), x.dtype)


@dataclass(frozen=True)
class GlobalLpPool(_GlobalPool):
    """The p-norm over all spatial dimensions."""

    p: int = 2

    def evaluate(self, x: Array) -> Array:
        total = (np.abs(widened(x)) ** self.p).sum(axis=_spatial_axes(x), keepdims=True)
        return rounded(total ** (1.0 / self.p), x.dtype)


@dataclass(frozen=True)
class MaxUnpool(Op):
    """Put each element back where `MaxPool` found it; zeros elsewhere."""

    kernel_shape: tuple[int, ...]
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    since = 9
    shape_operands = (2,)

    def infer(self, x: TensorType, i: TensorType, output_shape: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype = float_dtype(x)
        shape, positions = x.shape, shape_of(i)
        if shape is not None and positions is not None:
            if len(shape) != len(positions):
                raise shape_error(f"X {format_shape(shape)} and I {format_shape(positions)} must have the same shape")
            for a, b in zip(shape, positions, strict=True):
                require_equal(a, b, "dimensions of X and I")
        if output_shape is not None:
            content = output_shape.content if type(output_shape) is TensorType else None
            return TensorType(dtype, content if content is not None else (None,) * (len(self.kernel_shape) + 2))  # type: ignore[arg-type]
        return TensorType(dtype, self._natural_shape(shape))

    def _natural_shape(self, shape: Any) -> Any:
        rank = len(self.kernel_shape)
        if shape is None:
            return (None,) * (rank + 2)
        if len(shape) != rank + 2:
            raise shape_error(f"kernel_shape {list(self.kernel_shape)} does not fit the input {format_shape(shape)}")
        strides, pads = per_axis(self.strides, rank, "strides"), explicit_pads(self.pads, rank)
        spatial = [
            None if n is None else (n - 1) * s - pads[i] - pads[i + rank] + k
            for i, (n, s, k) in enumerate(zip(shape[2:], strides, self.kernel_shape, strict=True))
        ]
        return (*shape[:2], *spatial)

    def evaluate(self, x: Array, i: Array, output_shape: Array | None = None) -> Array:
        # The positions count in the natural result; a greater output_shape frames that result with zeros at its end.
        natural = self._natural_shape(x.shape)
        y = np.zeros(math.prod(natural), x.dtype)
        y[i.reshape(-1)] = x.reshape(-1)
        y = y.reshape(natural)
        if output_shape is None:
            return y
        target = tuple(int(n) for n in output_shape)
        if len(target) != len(natural) or any(t < n for t, n in zip(target, natural, strict=True)):
            raise attribute_error(f"output_shape {list(target)} cannot hold the unpooled {list(natural)}")
        framed = np.zeros(target, x.dtype)
        framed[tuple(slice(0, n) for n in natural)] = y
        return framed
