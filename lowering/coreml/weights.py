"""Compressed constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .versions import Release

_MOST_BINS = 1024
_ROUNDS = 24


def compression(settings: Mapping[str, Any]) -> Any:
    """A function ``(emission, array, name) -> variable | None`` that stores a constant as the options say; None when none is compressed."""
    form = settings["weights"]
    if form == "f32":
        return None
    release = Release.of(settings["minimum_target"])

    def compress(emission: Any, array: Any, name: str) -> Any:
        if array.dtype != np.float32 or array.size < settings["weight_threshold"] or array.ndim < 2:
            return None
        array = np.ascontiguousarray(array)
        if form == "f16":
            return emission.mil.constexpr_cast(source_val=array.astype(np.float16), output_dtype="fp32", stem=name)
        if form == "int8":
            return _affine(emission, array, name)
        if form == "int4-blockwise":
            return _blockwise(emission, array, settings["block_size"], name)
        return _palette(emission, array, int(form.removeprefix("palette")), release, name)

    return compress


def _affine(emission: Any, array: Any, name: str) -> Any:
    """Symmetric int8 with one scale per slice of the first axis."""
    axes = tuple(range(1, array.ndim))
    scale = (np.abs(array).max(axes) / 127).astype(np.float32)
    scale[scale == 0] = 1
    data = np.clip(np.rint(array / scale.reshape(-1, *(1,) * (array.ndim - 1))), -127, 127).astype(np.int8)
    zero = np.zeros(scale.shape, np.int8)
    return emission.mil.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=np.int32(0), stem=name)


def _blockwise(emission: Any, array: Any, block: int, name: str) -> Any:
    """Symmetric int4 with one scale per slice of the first axis and block of the second."""
    from coremltools.converters.mil.mil import types

    width = array.shape[1]
    while width % block:
        block -= 1
    rest = array.shape[2:]
    grouped = array.reshape(array.shape[0], width // block, block, *rest)
    scale = (np.abs(grouped).max(axis=2) / 7).astype(np.float32)
    scale[scale == 0] = 1
    data = np.clip(np.rint(grouped / scale[:, :, None]), -7, 7).astype(np.int8).reshape(array.shape)
    packed = data.astype(types.np_int4_dtype)
    return emission.mil.constexpr_blockwise_shift_scale(data=packed, scale=scale, stem=name)


def _palette(emission: Any, array: Any, bits: int, release: Release, name: str) -> Any:
    """Indices into a table of values."""
    table = _table(array.reshape(-1), 1 << bits)
    edges = (table[1:] + table[:-1]) / 2
    indices = np.searchsorted(edges, array.reshape(-1)).astype(np.uint8)
    if release < Release.IOS18:
        packed = _packed(indices, bits)
        shape = np.array(array.shape, np.uint32)
        return emission.mil.constexpr_lut_to_dense(indices=packed, lut=table, shape=shape, stem=name)
    from coremltools.converters.mil.mil import types

    kind = types.nptype_from_builtin(types.string_to_builtin(f"uint{bits}"))
    lut = table.reshape(*(1,) * array.ndim, table.size, 1)
    return emission.mil.constexpr_lut_to_dense(indices=indices.reshape(array.shape).astype(kind), lut=lut, stem=name)


def _table(values: Any, count: int) -> Any:
    """The palette: sorted, of exactly ``count`` entries.

    It starts with the density that is optimal for the mean square error, the cube root of that of the values (Panter and Dite, 1951), and
    is improved by Lloyd's algorithm.
    """
    ordered = np.sort(values).astype(np.float64)
    low, high = ordered[0], ordered[-1]
    if low == high:
        return np.full(count, low, np.float32)
    bins = int(np.clip(np.sqrt(ordered.size), 16, _MOST_BINS))
    amounts, edges = np.histogram(ordered, bins, (low, high))
    mass = np.concatenate(([0.0], np.cumsum(np.cbrt(amounts))))
    centres = np.interp((np.arange(count) + 0.5) / count * mass[-1], mass, edges)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    for _ in range(_ROUNDS):
        bounds = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        starts, ends = np.concatenate(([0], bounds)), np.concatenate((bounds, [ordered.size]))
        filled = ends > starts
        centres[filled] = (sums[ends] - sums[starts])[filled] / (ends - starts)[filled]
        centres.sort()
    return centres.astype(np.float32)


def _packed(indices: Any, bits: int) -> Any:
    """Indices as a stream of bits, the least significant first."""
    codes: Any = indices[:, None]
    stream = np.unpackbits(codes, axis=1, bitorder="little")[:, :bits].reshape(-1)
    return np.packbits(stream, bitorder="little")
