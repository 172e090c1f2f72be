"""Quantisation of values and the compressed forms of weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .blobs import unpacked
from .errors import undefined, unsupported
from .registry import Call, operator
from .shaping import axis_list
from .values import BY_NAME, Array


def _along(parameter: Any, x: Array, axis: Any) -> Array:
    """A scale or zero point, scalar or one per element of an axis, in a shape that broadcasts."""
    values = np.asarray(parameter)
    if values.ndim == 0:
        return values
    if axis is None or values.shape != (x.shape[int(axis)],):
        undefined(f"{list(values.shape)} parameters do not fit axis {None if axis is None else int(axis)} of {list(x.shape)}")
    return values.reshape([-1 if a == int(axis) % x.ndim else 1 for a in range(x.ndim)])


@operator("quantize")
def quantize(input: Array, scale: Any, output_dtype: str, zero_point: Any = None, axis: Any = None) -> Array:
    """``clip(round(input / scale) + zero_point)``, rounding to nearest even."""
    if output_dtype not in ("int8", "uint8"):
        unsupported(f"its output_dtype is '{output_dtype}'")
    limits = np.iinfo(output_dtype)
    steps = np.rint(input / _along(scale, input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis).astype(np.float32)
    if np.isnan(steps).any():
        undefined("a value that is not a number has no quantised form")
    return np.clip(steps, limits.min, limits.max).astype(output_dtype)


@operator("dequantize")
def dequantize(input: Array, scale: Any, zero_point: Any = None, axis: Any = None) -> Array:
    """``scale * (input - zero_point)``."""
    return _affine(input, scale, zero_point, axis)


def _affine(data: Array, scale: Any, zero_point: Any, axis: Any) -> Array:
    steps = data.astype(np.float32)
    if zero_point is not None:
        steps = steps - _along(zero_point, data, axis).astype(np.float32)
    return steps * _along(scale, data, axis)


@operator("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Any, scale: Any, axis: Any) -> Array:
    """``scale * (quantized_data - zero_point)``."""
    return _affine(quantized_data, scale, zero_point, axis)


def _expanded(parameter: Array, shape: tuple[int, ...]) -> Array:
    """Values per block repeated to one per element."""
    if parameter.ndim != len(shape) or any(n % m for n, m in zip(shape, parameter.shape, strict=True)):
        undefined(f"blocks {list(parameter.shape)} do not divide {list(shape)}")
    for axis, (n, m) in enumerate(zip(shape, parameter.shape, strict=True)):
        if 1 < m < n:
            parameter = np.repeat(parameter, n // m, axis)
    return parameter


@operator("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """``scale * (data - offset)`` with a scale and an offset per block."""
    steps = data.astype(np.float32)
    if offset is not None:
        steps = steps - _expanded(offset, data.shape).astype(np.float32)
    return steps * _expanded(scale, data.shape)


@operator("constexpr_cast")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """A stored 16-bit float as float32."""
    if output_dtype not in BY_NAME or BY_NAME[output_dtype].stored != np.float32:
        unsupported(f"its output_dtype is '{output_dtype}'")
    return source_val.astype(np.float32)


@operator("constexpr_lut_to_dense")
def constexpr_lut_to_dense(indices: Array, lut: Array, call: Call, shape: Any = None, vector_axis: Any = None) -> Array:
    """Values out of palettes. Before iOS18 the indices are packed bytes and there is one palette of single values."""
    if shape is not None:
        sizes = axis_list(shape)
        bits = int(math.log2(lut.size))
        return lut[unpacked(indices, bits, math.prod(sizes), signed=False)].reshape(sizes)
    return _depalettised(indices, lut, vector_axis)


def _depalettised(indices: Array, lut: Array, vector_axis: Any) -> Array:
    """``lut [*groups, palette, vector]`` at ``indices``; a vector's elements follow each other along ``vector_axis``."""
    groups, (palette, vector) = lut.shape[:-2], lut.shape[-2:]
    if len(groups) != indices.ndim or (indices.size and int(indices.max()) >= palette):
        undefined(f"palettes {list(lut.shape)} do not fit indices {list(indices.shape)}")
    if vector > 1 and vector_axis is None:
        undefined("vectors need an axis")
    numbers = np.arange(math.prod(groups)).reshape(groups)
    values = lut.reshape(-1, palette, vector)[_expanded(numbers, indices.shape), indices]
    if vector == 1:
        return values[..., 0]
    axis = int(vector_axis) % indices.ndim
    sizes = [n * vector if a == axis else n for a, n in enumerate(indices.shape)]
    return np.moveaxis(values, -1, axis + 1).reshape(sizes)


@operator("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array, shape: Any = None) -> Array:
    """The stored elements where the mask is set, zeros elsewhere. Before iOS18 the mask is packed bytes."""
    if shape is not None:
        sizes = axis_list(shape)
        mask = unpacked(mask, 1, math.prod(sizes), signed=False).reshape(sizes)
    return _dense(nonzero_data, mask)


def _dense(nonzero_data: Array, mask: Array) -> Array:
    chosen = mask != 0
    if int(chosen.sum()) != nonzero_data.size:
        undefined(f"the mask has {int(chosen.sum())} elements set, {nonzero_data.size} are stored")
    result = np.zeros(mask.shape, nonzero_data.dtype)
    result[chosen] = nonzero_data
    return result


@operator("constexpr_lut_to_sparse")
def constexpr_lut_to_sparse(indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Any = None) -> tuple[Array, Array]:
    """The mask and the palettes' values of sparse indices."""
    dense = _depalettised(_dense(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], int(vector_axis))
    return mask, dense[mask != 0]


@operator("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    """The mask and the dequantised elements of sparse data."""
    dense = constexpr_blockwise_shift_scale(_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]
