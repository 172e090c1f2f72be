"""Convolution and its transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, maximum
from ..op import Op
from ..types import TensorType
from .common import attribute_error, format_shape, shape_error
from .numerics import Array, exact, rounded, widened
from .operands import float_dtype, require_equal, require_vector, shape_of, unresolved
from .windows import explicit_pads, padded, per_axis, resolved_pads, tap_index, taps, window_counts, window_view


def conv_shape(op: Any, x: Any, w: Any) -> tuple[Any, ...] | None:
    """The result shape of a convolution with the attributes of ``Conv``, from the shapes of input and weight.

    Args:
        op: has group, kernel_shape, strides, dilations, pads and auto_pad.
        x: the input ``[batch, channels, *spatial]`` or None.
        w: the weight ``[filters, channels / group, *kernel]`` or None.
    """
    kernel = op.kernel_shape
    known = x if x is not None else w
    rank = len(known) - 2 if known is not None else len(kernel) if kernel else None
    if rank is None:
        return None
    if rank < 1:
        raise shape_error(f"a convolution needs batch, channels and spatial dimensions, not {format_shape(known)}")
    if x is None:
        x = (None,) * (rank + 2)
    if w is not None:
        if len(w) != rank + 2:
            raise shape_error(f"input {format_shape(x)} and weight {format_shape(w)} must have the same rank")
        if kernel and len(kernel) == rank:
            for stated, actual in zip(kernel, w[2:], strict=True):
                require_equal(stated, actual, "kernel_shape and the weight's kernel")
        elif kernel:
            raise attribute_error(f"kernel_shape {list(kernel)} does not fit the weight {format_shape(w)}")
        channels, filters, group = x[1], w[0], op.group
        if group < 1:
            raise attribute_error(f"group is {group}")
        if type(channels) is int and type(w[1]) is int and channels != w[1] * group:
            raise shape_error(
                f"input {format_shape(x)} has {channels} channels, weight {format_shape(w)} in {group} groups takes {w[1] * group}"
            )
        if type(filters) is int and filters % group:
            raise shape_error(f"{filters} filters cannot be split into {group} groups")
        kernel = w[2:] if not kernel or all(type(k) is int for k in w[2:]) else kernel
    else:
        filters = None
        kernel = kernel or (None,) * rank
    counts = window_counts(
        x[2:],
        kernel,
        per_axis(op.strides, rank, "strides"),
        per_axis(op.dilations, rank, "dilations"),
        explicit_pads(op.pads, rank, op.auto_pad),
        op.auto_pad,
    )
    return (x[0], filters, *counts)


@dataclass(frozen=True)
class Conv(Op):
    """Convolution of ``X [batch, channels, *spatial]`` with ``W [filters, channels / group, *kernel]``."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype = float_dtype(x, w, b)
        shape = conv_shape(self, x.shape, shape_of(w))
        if b is not None and shape is not None:
            require_vector(b, shape[1], "the bias")
        return TensorType(dtype, shape)

    def evaluate(self, x: Array, w: Array, b: Array | None = None) -> Array:
        rank = x.ndim - 2
        strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
        pads = resolved_pads(x.shape[2:], w.shape[2:], strides, dilations, self.pads, self.auto_pad)
        y = convolve(widened(x), widened(w), strides, dilations, pads, self.group)
        if b is not None:
            y = y + widened(b).reshape(-1, *(1,) * rank)
        return rounded(y, x.dtype)


def convolve(x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int], group: int = 1) -> Array:
    """Convolve ``x [batch, channels, *spatial]`` with ``w [filters, channels / group, *kernel]``.

    Integers are summed exactly and returned as float64. Each image is unfolded into a matrix and multiplied at once; depthwise
    kernels are added tap by tap instead.
    """
    rank = x.ndim - 2
    kernel = w.shape[2:]
    counts = window_counts(x.shape[2:], kernel, strides, dilations, pads)
    x, w = padded(exact(x), pads[:rank], pads[rank:]), exact(w)
    batch, channels = x.shape[:2]
    filters, per_group = w.shape[:2]
    if group == channels and filters == channels:
        return _depthwise(x, w, strides, dilations, counts)
    positions = math.prod(counts)
    y = np.empty((batch, filters, *counts), np.result_type(x, w))
    weights = w.reshape(group, filters // group, per_group * math.prod(kernel))
    pointwise = all(k == 1 for k in kernel) and all(s == 1 for s in strides)
    for image in range(batch):
        if pointwise:
            columns = x[image].reshape(group, per_group, positions)
        else:
            windows = window_view(x[image], kernel, strides, dilations, counts)
            ordered = np.moveaxis(windows, range(rank + 1, 2 * rank + 1), range(1, rank + 1))
            columns = ordered.reshape(group, per_group * math.prod(kernel), positions)
        np.matmul(weights, columns, out=y[image].reshape(group, filters // group, positions))
    return y


def _depthwise(x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], counts: Sequence[int]) -> Array:
    rank = x.ndim - 2
    y = np.zeros((*x.shape[:2], *counts), np.result_type(x, w))
    product = np.empty_like(y)
    for offset, view in taps(x, w.shape[2:], strides, dilations, counts):
        np.multiply(view, w[(slice(None), 0, *offset)].reshape(-1, *(1,) * rank), out=product)
        y += product
    return y


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution of ``X [batch, channels, *spatial]`` with ``W [channels, filters / group, *kernel]``."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    output_padding: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype = float_dtype(x, w, b)
        input_shape, weight = x.shape, shape_of(w)
        known = input_shape if input_shape is not None else weight
        if known is None:
            return TensorType(dtype, None)
        rank = len(known) - 2
        if rank < 1 or (weight is not None and len(weight) != len(known)):
            raise shape_error(f"input {format_shape(known)} and weight {format_shape(weight)} do not fit a transposed convolution")
        shape: Any = input_shape if input_shape is not None else (None,) * (rank + 2)
        filters: Any = None
        kernel: Sequence[Dim | None] = self.kernel_shape or (None,) * rank
        if weight is not None:
            require_equal(shape[1], weight[0], "channels of input and weight")
            filters, kernel = weight[1] * self.group, weight[2:]
        if b is not None:
            require_vector(b, filters, "the bias")
        spatial, _ = self._geometry(shape[2:], kernel)
        return TensorType(dtype, (shape[0], filters, *spatial))

    def evaluate(self, x: Array, w: Array, b: Array | None = None) -> Array:
        rank = x.ndim - 2
        spatial, pads = self._geometry(x.shape[2:], w.shape[2:])
        strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
        y = _transposed(widened(x), widened(w), strides, dilations, pads, spatial, self.group)
        if b is not None:
            y = y + widened(b).reshape(-1, *(1,) * rank)
        return rounded(y, x.dtype)

    def _geometry(self, spatial: Any, kernel: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The output's spatial dimensions and the resolved pads (meaningful when the sizes are known)."""
        rank = len(spatial)
        strides, dilations = per_axis(self.strides, rank, "strides"), per_axis(self.dilations, rank, "dilations")
        pads = explicit_pads(self.pads, rank, self.auto_pad)
        extra = self.output_padding or (0,) * rank
        if len(extra) != rank:
            raise attribute_error(f"output_padding {list(extra)} does not fit {rank} spatial dimensions")
        stated = self.output_shape[-rank:] if self.output_shape else None
        sizes, begins, ends = [], [], []
        for i in range(rank):
            size, extent, stride = spatial[i], kernel[i], strides[i]
            full = None
            if size is not None and extent is not None:
                full = (size - 1) * stride + extra[i] + (extent - 1) * dilations[i] + 1
            if stated is None and self.auto_pad[0] != "S":
                begins.append(pads[i])
                ends.append(pads[i + rank])
                sizes.append(None if full is None else full - pads[i] - pads[i + rank])
                continue
            size = stated[i] if stated is not None else None if size is None else size * stride
            total = 0 if full is None or size is None else maximum(full - size, 0)
            small = total // 2
            begins.append(small if self.auto_pad == "SAME_UPPER" else total - small)
            ends.append(total - small if self.auto_pad == "SAME_UPPER" else small)
            sizes.append(size)
        for axis, size in enumerate(sizes):
            if type(size) is int and size < 0:
                raise shape_error(f"the pads leave {size} elements along spatial axis {axis}")
        return tuple(sizes), (*begins, *ends)


def _transposed(
    x: Array,
    w: Array,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    spatial: Sequence[int],
    group: int,
) -> Array:
    rank = x.ndim - 2
    batch, channels, *sizes = x.shape
    filters, kernel = w.shape[1], w.shape[2:]
    positions, cells = math.prod(sizes), math.prod(kernel)
    weights = w.reshape(group, channels // group, filters * cells).transpose(0, 2, 1)
    products = np.matmul(weights, x.reshape(batch, group, channels // group, positions))
    columns = products.reshape(batch, group * filters, *kernel, *sizes)
    reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)]
    span = [max(r, b + n) for r, b, n in zip(reach, pads[:rank], spatial, strict=True)]
    full = np.zeros((batch, group * filters, *span), columns.dtype)
    for offset in np.ndindex(*kernel):
        full[tap_index(offset, strides, dilations, sizes)] += columns[(slice(None), slice(None), *offset)]
    return full[(..., *(slice(b, b + n) for b, n in zip(pads[:rank], spatial, strict=True)))]
