"""Image operators: sampling on grids, depth and space, cropping and padding, decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, dtype_error, format_shape, normalize_axes, shape_error, unify_dim
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, shape_of, unresolved
from .sampling import cubic_taps, linear_taps, nearest_taps, read, reflected

_GRID_MODES = {"linear": linear_taps, "nearest": nearest_taps, "cubic": cubic_taps}
_PADDINGS = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class GridSample(Op):
    """``X [batch, channels, *spatial]`` read at the normalised positions ``grid [batch, *out, rank]``."""

    align_corners: int = 0
    mode: str = "linear"
    padding_mode: str = "zeros"
    since = 16

    def infer(self, x: TensorType, grid: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if self.mode not in _GRID_MODES:
            raise attribute_error(f"mode is {self.mode!r}", hint="choose one of: " + ", ".join(_GRID_MODES))
        if self.padding_mode not in _PADDINGS:
            raise attribute_error(f"padding_mode is {self.padding_mode!r}", hint="choose one of: " + ", ".join(_PADDINGS))
        if type(grid) is TensorType and grid.dtype not in FLOATS:
            raise dtype_error(f"grid may not be {grid.dtype}")
        shape, places = x.shape, shape_of(grid)
        if shape is not None and places is not None:
            if len(shape) != len(places) or len(shape) < 3:
                raise shape_error(f"X {format_shape(shape)} and grid {format_shape(places)} do not fit")
            require_equal(places[-1], len(shape) - 2, "the last dimension of grid and the spatial rank of X")
        if places is None:
            return TensorType(x.dtype, None if shape is None else (*shape[:2], *(None,) * (len(shape) - 2)))  # type: ignore[arg-type]
        batch = places[0] if shape is None else unify_dim(shape[0], places[0], "batch of X and grid")
        return TensorType(x.dtype, (batch, None if shape is None else shape[1], *places[1:-1]))  # type: ignore[arg-type]

    def evaluate(self, x: Array, grid: Array) -> Array:
        wide = widened(x)
        wide = wide.astype(np.float32) if wide.dtype.kind in "iub" else wide
        taps, borders = [], []
        for axis, size in enumerate(x.shape[2:]):
            place = widened(grid)[..., x.ndim - 3 - axis]
            low, high = (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)
            position = (place + 1) / 2 * (size - 1) if self.align_corners else ((place + 1) * size - 1) / 2
            if self.mode == "nearest":
                position = np.rint(position)
            if self.mode != "cubic":  # cubic weights belong to the true position; its taps are moved instead
                outside = (position < low) | (position > high)
                if self.padding_mode == "border":
                    position = np.where(outside, np.clip(position, 0, size - 1), position)
                elif self.padding_mode == "reflection":
                    position = np.where(outside, reflected(position, low, high), position)
            taps.append(_GRID_MODES[self.mode](position.astype(wide.dtype)))
            borders.append((low, high))
        return rounded(read(wide, taps, self.padding_mode, borders), x.dtype)


@dataclass(frozen=True)
class AffineGrid(Op):
    """The sampling grid of an affine map ``theta [batch, rank, rank + 1]`` for an image of the given size."""

    align_corners: int = 0
    since = 20
    shape_operands = (1,)

    def infer(self, theta: TensorType, size: TensorType) -> Any:
        if type(theta) is not TensorType:
            return unresolved(theta, "theta")
        dtype, own = float_dtype(theta), require_rank(theta, 3, "theta")
        content = size.content if type(size) is TensorType else None
        rank = len(content) - 2 if content is not None else own[1] if own is not None and type(own[1]) is int else None
        if rank is None:
            return TensorType(dtype, None)
        if rank not in (2, 3):
            raise shape_error(f"size must name batch, channels and two or three spatial dimensions, not {format_shape(content)}")
        if own is not None:
            require_equal(own[1], rank, "rows of theta and the spatial rank")
            require_equal(own[2], rank + 1, "columns of theta and the spatial rank plus one")
        batch = unify_dim(own[0] if own is not None else None, content[0] if content is not None else None, "batch")
        spatial = content[2:] if content is not None else (None,) * rank
        return TensorType(dtype, (batch, *spatial, rank))  # type: ignore[arg-type]

    def evaluate(self, theta: Array, size: Array) -> Array:
        spatial = [int(n) for n in size[2:]]
        lines = []
        for n in spatial:
            if self.align_corners:
                lines.append(np.linspace(-1, 1, n) if n > 1 else np.zeros(1))
            else:
                lines.append((np.arange(n) * 2 + 1) / n - 1)
        base = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(spatial)], axis=-1)
        wide = widened(theta)
        grid = base.reshape(-1, len(spatial) + 1).astype(wide.dtype) @ wide.swapaxes(1, 2)
        return rounded(grid.reshape(theta.shape[0], *spatial, len(spatial)), theta.dtype)


_ORDERS = ("DCR", "CRD")


def _check_blocks(op: Any) -> None:
    if op.blocksize < 1:
        raise attribute_error(f"blocksize is {op.blocksize}")
    if op.mode not in _ORDERS:
        raise attribute_error(f"mode is {op.mode!r}", hint="choose one of: " + ", ".join(_ORDERS))


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Channels moved into blocks of the image."""

    blocksize: int
    mode: str = "DCR"

    def infer(self, input: TensorType) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        _check_blocks(self)
        shape = require_rank(input, 4, "input")
        if shape is None:
            return TensorType(input.dtype, (None,) * 4)  # type: ignore[arg-type]
        n, c, h, w = shape
        b = self.blocksize
        channels = divided(c, b * b, "the number of channels")
        return TensorType(input.dtype, (n, channels, h * b, w * b))  # type: ignore[arg-type]

    def evaluate(self, input: Array) -> Array:
        n, c, h, w = input.shape
        b = self.blocksize
        if self.mode == "DCR":
            moved = input.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            moved = input.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return moved.reshape(n, c // (b * b), h * b, w * b)


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """Blocks of the image moved into channels."""

    blocksize: int
    mode: str = "DCR"

    def infer(self, input: TensorType) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        _check_blocks(self)
        shape = require_rank(input, 4, "input")
        if shape is None:
            return TensorType(input.dtype, (None,) * 4)  # type: ignore[arg-type]
        n, c, h, w = shape
        b = self.blocksize
        return TensorType(input.dtype, (n, c * (b * b), divided(h, b, "the height"), divided(w, b, "the width")))  # type: ignore[arg-type]

    def evaluate(self, input: Array) -> Array:
        n, c, h, w = input.shape
        b = self.blocksize
        blocks = input.reshape(n, c, h // b, b, w // b, b)
        moved = blocks.transpose(0, 3, 5, 1, 2, 4) if self.mode == "DCR" else blocks.transpose(0, 1, 3, 5, 2, 4)
        return moved.reshape(n, c * b * b, h // b, w // b)


@dataclass(frozen=True)
class CenterCropPad(Op):
    """Crop or pad each axis around its centre to the wanted size."""

    axes: tuple[int, ...] | None = None
    since = 18
    shape_operands = (1,)

    def infer(self, input_data: TensorType, shape: TensorType) -> Any:
        if type(input_data) is not TensorType:
            return unresolved(input_data, "input_data")
        own = input_data.shape
        if own is None:
            return TensorType(input_data.dtype, None)
        axes = normalize_axes(self.axes, len(own)) if self.axes is not None else tuple(range(len(own)))
        content = shape.content if type(shape) is TensorType else None
        if content is not None and len(content) != len(axes):
            raise shape_error(f"shape names {len(content)} sizes for {len(axes)} axes")
        result: list[Dim | None] = list(own)
        for position, axis in enumerate(axes):
            result[axis] = content[position] if content is not None else None
        return TensorType(input_data.dtype, tuple(result))  # type: ignore[arg-type]

    def evaluate(self, input_data: Array, shape: Array) -> Array:
        axes = normalize_axes(self.axes, input_data.ndim) if self.axes is not None else tuple(range(input_data.ndim))
        sizes = list(input_data.shape)
        source, target = [slice(None)] * input_data.ndim, [slice(None)] * input_data.ndim
        for axis, wanted in zip(axes, (int(n) for n in shape), strict=True):
            have, sizes[axis] = sizes[axis], wanted
            before = abs(wanted - have) // 2
            if wanted < have:
                source[axis] = slice(before, before + wanted)
            else:
                target[axis] = slice(before, before + have)
        fill = "" if input_data.dtype == np.object_ else 0
        result = np.full(sizes, fill, input_data.dtype)
        result[tuple(target)] = input_data[tuple(source)]
        return result


@dataclass(frozen=True)
class ImageDecoder(Op):
    """The pixels ``[height, width, channels]`` of an encoded image."""

    pixel_format: str = "RGB"
    since = 20

    def infer(self, encoded_stream: TensorType) -> Any:
        if type(encoded_stream) is not TensorType:
            return unresolved(encoded_stream, "encoded_stream")
        if encoded_stream.dtype is not DType.UINT8:
            raise dtype_error(f"encoded_stream must be u8, not {encoded_stream.dtype}")
        channels = {"RGB": 3, "BGR": 3, "Grayscale": 1}
        if self.pixel_format not in channels:
            raise attribute_error(f"pixel_format is {self.pixel_format!r}", hint="choose one of: " + ", ".join(channels))
        require_rank(encoded_stream, 1, "encoded_stream")
        return TensorType(DType.UINT8, (None, None, channels[self.pixel_format]))  # type: ignore[arg-type]
