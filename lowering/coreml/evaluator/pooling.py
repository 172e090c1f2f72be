"""Pooling over sliding windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.ops.pooling import AveragePool
from ....ir.ops.windows import padded, taps
from .convolution import integers, window_pads
from .errors import undefined
from .registry import operator
from .values import Array


def _layout(x: Array, kernel_sizes: Any, strides: Any, pad_type: str, pad: Any, ceil_mode: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Kernel, strides, begins, ends (with what the last windows of ceil mode reach over) and the number of windows."""
    spatial, rank = x.shape[2:], x.ndim - 2
    kernel, steps = integers(kernel_sizes, rank, 1), integers(strides, rank, 1)
    pads = window_pads(pad_type, pad, spatial, kernel, steps, (1,) * rank)
    begins, ends = pads[:rank], list(pads[rank:])
    counts = []
    for i in range(rank):
        room = spatial[i] + begins[i] + ends[i] - kernel[i]
        if room < 0:
            undefined(f"a window of {kernel[i]} does not fit the {spatial[i] + begins[i] + ends[i]} elements along spatial axis {i}")
        count = room // steps[i] + 1
        if bool(ceil_mode):
            count = -(-room // steps[i]) + 1
            if (count - 1) * steps[i] >= spatial[i] + begins[i] and begins[i] + ends[i] > 0:
                count -= 1
            if (count - 1) * steps[i] >= spatial[i] + begins[i]:
                undefined("ceil_mode makes a window that lies outside of the input")
            ends[i] = max(ends[i], (count - 1) * steps[i] + kernel[i] - spatial[i] - begins[i])
        counts.append(count)
    return kernel, steps, begins, ends, counts


@operator("max_pool")
def max_pool(x: Array, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None, ceil_mode: Any = False) -> Array:
    """The greatest element of each window; padding never wins."""
    kernel, steps, begins, ends, counts = _layout(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    result = np.full((*x.shape[:2], *counts), -np.inf, x.dtype)
    for _, view in taps(padded(x, begins, ends, -np.inf), kernel, steps, (1,) * len(kernel), counts):
        np.maximum(result, view, out=result)
    return result


@operator("l2_pool")
def l2_pool(x: Array, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None, ceil_mode: Any = False) -> Array:
    """The root of the sum of squares of each window."""
    kernel, steps, begins, ends, counts = _layout(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    result = np.zeros((*x.shape[:2], *counts), x.dtype)
    for _, view in taps(padded(np.square(x), begins, ends), kernel, steps, (1,) * len(kernel), counts):
        result += view
    return np.sqrt(result)


@operator("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    exclude_padding_from_average: Any = False,
    ceil_mode: Any = False,
) -> Array:
    """The mean of each window; what ceil mode reaches over beyond the padding never counts."""
    _layout(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    rank = x.ndim - 2
    kernel, steps = integers(kernel_sizes, rank, 1), integers(strides, rank, 1)
    pads = window_pads(pad_type, pad, x.shape[2:], kernel, steps, (1,) * rank)
    count = 0 if bool(exclude_padding_from_average) else 1
    return AveragePool(kernel, ceil_mode=int(bool(ceil_mode)), count_include_pad=count, pads=pads, strides=steps).evaluate(x)
