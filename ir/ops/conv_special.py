"""Relatives of the convolution: deformable, causal with a carried state, and folding of columns into images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..op import Op
from ..types import TensorType
from .common import attribute_error, format_shape, shape_error
from .conv import conv_shape
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, require_vector, shape_of, unresolved
from .sampling import linear_taps, read
from .windows import explicit_pads, per_axis, tap_index, window_counts


@dataclass(frozen=True)
class DeformConv(Op):
    """Convolution whose taps are displaced by offsets and weighted by a mask."""

    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    offset_group: int = 1
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    since = 19

    @property
    def auto_pad(self) -> str:
        """Deformable convolution has no automatic padding."""
        return "NOTSET"

    def infer(self, x: TensorType, w: TensorType, offset: TensorType, b: TensorType | None = None, mask: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype = float_dtype(x, w, offset, b, mask)
        shape = conv_shape(self, x.shape, shape_of(w))
        if shape is None:
            return TensorType(dtype, None)
        if x.shape is not None:
            divided(x.shape[1], self.offset_group, "the number of channels")
        require_vector(b, shape[1], "the bias")
        kernel = shape_of(w)
        taps = math.prod(kernel[2:]) if kernel is not None and all(type(k) is int for k in kernel) else None
        rank = len(shape) - 2
        for name, operand, per_tap in (("offset", offset, rank), ("mask", mask, 1)):
            own = require_rank(operand, rank + 2, name)
            if own is None:
                continue
            if taps is not None:
                require_equal(own[1], self.offset_group * taps * per_tap, f"channels of {name} and of the taps")
            for stated, result in zip(own[2:], shape[2:], strict=True):
                require_equal(stated, result, f"spatial dimensions of {name} and of the result")
        return TensorType(dtype, shape)

    def evaluate(self, x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None) -> Array:
        wide, weight, groups = widened(x), widened(w), self.offset_group
        batch, channels, *spatial = x.shape
        rank, kernel = len(spatial), w.shape[2:]
        taps, counts = math.prod(kernel), offset.shape[2:]
        strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
        pads = explicit_pads(self.pads, rank)
        shifts = widened(offset).reshape(batch * groups, taps, rank, *counts)
        positions = []
        for axis in range(rank):
            inner = np.indices(kernel)[axis].reshape(1, taps, *(1,) * rank) * dilations[axis]
            outer = np.arange(counts[axis]).reshape(-1, *(1,) * (rank - 1 - axis)) * strides[axis] - pads[axis]
            positions.append(linear_taps((shifts[:, :, axis] + inner + outer).astype(wide.dtype)))
        columns = read(wide.reshape(batch * groups, channels // groups, *spatial), positions)
        if mask is not None:
            columns = columns * widened(mask).reshape(batch * groups, 1, taps, *counts)
        columns = columns.reshape(batch, self.group, channels // self.group * taps, math.prod(counts))
        filters = weight.reshape(self.group, w.shape[0] // self.group, -1)
        y = np.matmul(filters, columns).reshape(batch, w.shape[0], *counts)
        return rounded(y if b is None else y + widened(b).reshape(-1, *(1,) * rank), x.dtype)


@dataclass(frozen=True)
class Col2Im(Op):
    """Columns of blocks ``[batch, channels * block, blocks]`` added back into images."""

    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    since = 18
    shape_operands = (1, 2)

    def infer(self, input: TensorType, image_shape: TensorType, block_shape: TensorType) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        shape = require_rank(input, 3, "input")
        image = image_shape.content if type(image_shape) is TensorType else None
        block = block_shape.static_content if type(block_shape) is TensorType else None
        if image is not None and block is not None and len(image) != len(block):
            raise shape_error(f"image_shape {format_shape(image)} and block_shape {format_shape(block)} must have the same length")
        if image is None:
            return TensorType(input.dtype, None if block is None else (None,) * (len(block) + 2))  # type: ignore[arg-type]
        channels = divided(shape[1], math.prod(block), "the column height") if shape is not None and block is not None else None
        if shape is not None and block is not None and all(type(n) is int for n in image):
            rank = len(image)
            strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
            counts = window_counts(image, block, strides, dilations, explicit_pads(self.pads, rank))
            require_equal(shape[2], math.prod(counts), "the number of blocks and of the input's columns")
        return TensorType(input.dtype, (shape[0] if shape is not None else None, channels, *image))  # type: ignore[arg-type]

    def evaluate(self, input: Array, image_shape: Array, block_shape: Array) -> Array:
        image, block = [int(n) for n in image_shape], [int(n) for n in block_shape]
        rank = len(image)
        strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
        pads = explicit_pads(self.pads, rank)
        counts = window_counts(image, block, strides, dilations, pads)
        wide = widened(input)
        columns = wide.reshape(input.shape[0], -1, *block, *counts)
        full = np.zeros((*columns.shape[:2], *(n + pads[i] + pads[i + rank] for i, n in enumerate(image))), wide.dtype)
        for offset in np.ndindex(*block):
            full[tap_index(offset, strides, dilations, counts)] += columns[(slice(None), slice(None), *offset)]
        inner = full[(..., *(slice(pads[i], pads[i] + n) for i, n in enumerate(image)))]
        return rounded(np.ascontiguousarray(inner), input.dtype)


_ACTIVATIONS = ("none", "silu", "swish")


@dataclass(frozen=True)
class CausalConvWithState(Op):
    """Causal depthwise convolution of ``input [batch, channels, length]`` that carries its last positions to the next step."""

    activation: str = "none"
    since = 27
    outputs = 2

    def infer(self, input: TensorType, weight: TensorType, bias: TensorType | None = None, past_state: TensorType | None = None) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        if self.activation not in _ACTIVATIONS:
            raise attribute_error(f"activation is {self.activation!r}", hint="choose one of: " + ", ".join(_ACTIVATIONS))
        dtype = float_dtype(input, weight, bias, past_state)
        shape, kernel, past = require_rank(input, 3, "input"), require_rank(weight, 3, "weight"), require_rank(past_state, 3, "past_state")
        channels = shape[1] if shape is not None else None
        carried = kernel[2] - 1 if kernel is not None else None
        if kernel is not None:
            require_equal(kernel[0], channels, "channels of weight and input")
            require_equal(kernel[1], 1, "the second dimension of a depthwise weight and one")
        require_vector(bias, channels, "the bias")
        if past is not None:
            require_equal(past[2], carried, "the length of past_state and the kernel size less one")
        present = (shape[0] if shape is not None else None, channels, carried)
        return TensorType(dtype, shape), TensorType(dtype, present)  # type: ignore[arg-type]

    def evaluate(self, input: Array, weight: Array, bias: Array | None = None, past_state: Array | None = None) -> tuple[Array, Array]:
        wide, taps = widened(input), widened(weight)
        size, length = weight.shape[2], input.shape[2]
        before = np.zeros((*input.shape[:2], size - 1), wide.dtype) if past_state is None else widened(past_state)
        series = np.concatenate((before, wide), axis=2)
        y = np.zeros_like(wide)
        for offset in range(size):
            y += series[:, :, offset : offset + length] * taps[:, 0, offset, None]
        if bias is not None:
            y = y + widened(bias)[:, None]
        if self.activation != "none":
            y = y / (1 + np.exp(-y))
        return rounded(y, input.dtype), rounded(series[:, :, length:], input.dtype)
