"""Gathering and scattering by indices, sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import undefined, unsupported
from .registry import Call, operator
from .values import Array

_FUNCTIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum}


def _checked(indices: Array, length: int, call: Call) -> Array:
    """Indices from zero on. Negative ones count from the end before iOS17 and are out of bounds from then on."""
    lowest = 0 if call.opset >= 17 else -length
    if indices.size and not bool(((indices >= lowest) & (indices < length)).all()):
        undefined(f"an index lies outside of {lowest}..{length - 1} (from iOS17 on negative indices do)")
    indices = indices.astype(np.int64)
    return np.where(indices < 0, indices + length, indices)


def _batched(x: Array, batch: int) -> tuple[tuple[int, ...], Array]:
    """The batch's sizes and the tensor with them in one axis."""
    return x.shape[:batch], x.reshape(math.prod(x.shape[:batch]), *x.shape[batch:])


@operator("gather", moves=True)
def gather(x: Array, indices: Array, call: Call, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False) -> Array:
    """Slices along an axis; the first ``batch_dims`` axes of both operands go together."""
    place, batch = int(axis) % x.ndim, int(batch_dims)
    chosen = _checked(np.asarray(indices), x.shape[place], call)
    if not batch:
        return np.take(x, chosen, place)
    sizes, rows = _batched(x, batch)
    _, row_indices = _batched(chosen, batch)
    if chosen.shape[:batch] != sizes:
        undefined(f"the batches {list(sizes)} and {list(chosen.shape[:batch])} differ")
    parts = [np.take(row, index, place - batch) for row, index in zip(rows, row_indices, strict=True)]
    return np.stack(parts).reshape(*sizes, *parts[0].shape)


@operator("gather_along_axis", moves=True)
def gather_along_axis(x: Array, indices: Array, call: Call, axis: Any = 0, validate_indices: Any = False) -> Array:
    """The element at each index along an axis."""
    place = int(axis) % x.ndim
    same = all(n == m for a, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True)) if a != place)
    if not same:
        undefined(f"an input {list(x.shape)} and indices {list(indices.shape)} differ beside axis {place}")
    return np.take_along_axis(x, _checked(indices, x.shape[place], call), place)


def _points(indices: Array, sizes: Sequence[int], call: Call) -> tuple[Array, ...]:
    return tuple(_checked(indices[..., i], size, call) for i, size in enumerate(sizes[: indices.shape[-1]]))


@operator("gather_nd", moves=True)
def gather_nd(x: Array, indices: Array, call: Call, batch_dims: Any = 0, validate_indices: Any = False) -> Array:
    """Slices at positions of several axes at once."""
    batch = int(batch_dims)
    if indices.shape[-1] > x.ndim - batch or x.shape[:batch] != indices.shape[:batch]:
        undefined(f"indices {list(indices.shape)} do not fit an input {list(x.shape)}")
    if not batch:
        return np.asarray(x[_points(indices, x.shape, call)])
    sizes, rows = _batched(x, batch)
    _, row_indices = _batched(indices, batch)
    parts = [row[_points(index, row.shape, call)] for row, index in zip(rows, row_indices, strict=True)]
    return np.stack(parts).reshape(*sizes, *parts[0].shape)


def _scattered(data: Array, index: Any, updates: Array, mode: str) -> Array:
    if updates.dtype != data.dtype:
        undefined(f"data {data.dtype} cannot take updates {updates.dtype}")
    result = data.copy()
    if mode == "update":
        result[index] = updates
    elif mode == "div" and data.dtype.kind in "iu":
        undefined("the documentation does not say how a quotient of integers is rounded")
    elif mode in _FUNCTIONS:
        _FUNCTIONS[mode].at(result, index, updates)
    else:
        unsupported(f"its mode is '{mode}'")
    return result


@operator("scatter")
def scatter(
    data: Array, indices: Array, updates: Array, call: Call, axis: Any = 0, mode: str = "add", validate_indices: Any = False
) -> Array:
    """Combine slices of the updates into the data along an axis."""
    place = int(axis) % data.ndim
    expected = (*data.shape[:place], *indices.shape, *data.shape[place + 1 :])
    if updates.shape != expected:
        undefined(f"updates {list(updates.shape)} should be {list(expected)}")
    return _scattered(data, (slice(None),) * place + (_checked(indices, data.shape[place], call),), updates, mode)


@operator("scatter_along_axis")
def scatter_along_axis(
    data: Array, indices: Array, updates: Array, call: Call, axis: Any = 0, mode: str = "add", validate_indices: Any = False
) -> Array:
    """Combine each update into the data at its index along an axis."""
    place = int(axis) % data.ndim
    if updates.shape != indices.shape or data.ndim != indices.ndim:
        undefined(f"updates {list(updates.shape)} and indices {list(indices.shape)} do not fit data {list(data.shape)}")
    if any(n != m for a, (n, m) in enumerate(zip(data.shape, indices.shape, strict=True)) if a != place):
        undefined(f"indices {list(indices.shape)} and data {list(data.shape)} differ beside axis {place}")
    grid = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[place] = _checked(indices, data.shape[place], call)
    return _scattered(data, tuple(grid), updates, mode)


@operator("scatter_nd")
def scatter_nd(data: Array, indices: Array, updates: Array, call: Call, mode: str = "add", validate_indices: Any = False) -> Array:
    """Combine slices of the updates into the data at positions of several axes."""
    depth = indices.shape[-1]
    expected = (*indices.shape[:-1], *data.shape[depth:])
    if depth > data.ndim or updates.shape != expected:
        undefined(f"updates {list(updates.shape)} should be {list(expected)}")
    return _scattered(data, _points(indices, data.shape, call), updates, mode)


@operator("non_zero", moves=True)
def non_zero(x: Array) -> Array:
    """The positions of the elements that are not zero, one per row."""
    return np.argwhere(x).astype(np.int32)


def _order(x: Array, axis: int, ascending: bool) -> Array:
    """The positions of the sorted elements; equal ones keep their order."""
    if ascending:
        return np.argsort(x, axis, kind="stable")
    flipped = np.flip(x, axis)
    return x.shape[axis] - 1 - np.flip(np.argsort(flipped, axis, kind="stable"), axis)


@operator("argsort", moves=True)
def argsort(x: Array, axis: Any = -1, ascending: Any = False) -> Array:
    return _order(x, int(axis), bool(ascending)).astype(np.int32)


@operator("topk", moves=True)
def topk(
    x: Array,
    k: Any = 1,
    axis: Any = -1,
    ascending: Any = False,
    sort: Any = True,
    return_indices: Any = True,
    output_indices_dtype: str = "int32",
) -> Any:
    """The greatest (or least) elements in order, and their positions; -1 stands for all."""
    place, length = int(axis) % x.ndim, x.shape[int(axis)]
    count = length if int(k) == -1 else int(k)
    if not 0 <= count <= length:
        undefined(f"there are no {count} elements along axis {place} of {list(x.shape)}")
    positions = np.take(_order(x, place, bool(ascending)), np.arange(count), place)
    values = np.take_along_axis(x, positions, place)
    return (values, positions.astype(output_indices_dtype)) if bool(return_indices) else values
