"""The geometry of sliding windows: what convolution and pooling share.

Pads are stored as ONNX does: all begins, then all ends. Spatial sizes may be symbolic; strides, dilations and pads are integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..dims import Dim, ceildiv, maximum, minimum
from .common import attribute_error, shape_error

Array = np.ndarray[Any, np.dtype[Any]]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def per_axis(values: Sequence[int] | None, rank: int, name: str) -> tuple[int, ...]:
    """A per-axis attribute (strides, dilations) with its default of ones, checked for length and sign."""
    if not values:
        return (1,) * rank
    if len(values) != rank:
        raise attribute_error(f"{name} {list(values)} does not fit {rank} spatial dimensions")
    if min(values) < 1:
        raise attribute_error(f"{name} {list(values)} must be positive")
    return tuple(values)


def explicit_pads(pads: Sequence[int] | None, rank: int, auto_pad: str = "NOTSET") -> tuple[int, ...]:
    """The pads attribute with its default of zeros; it is ignored when ``auto_pad`` says something else."""
    if auto_pad not in AUTO_PADS:
        raise attribute_error(f"auto_pad is {auto_pad!r}", hint="choose one of: " + ", ".join(AUTO_PADS))
    if not pads or auto_pad != "NOTSET":
        return (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise attribute_error(f"pads {list(pads)} does not fit {rank} spatial dimensions (a begin and an end each)")
    return tuple(pads)


def window_count(
    size: Dim | None, kernel: Dim | None, stride: int, dilation: int, begin: int, end: int, auto_pad: str, ceil_mode: int, axis: int
) -> Dim | None:
    """The number of window positions along one axis, None when it cannot be known."""
    if size is None:
        return None
    if auto_pad[0] == "S":
        return ceildiv(size, stride)
    if kernel is None:
        return None
    extent = kernel if dilation == 1 else (kernel - 1) * dilation + 1
    room = size + begin + end - extent
    if type(room) is int and room < 0:
        if size == 0:
            return 0
        raise shape_error(f"the window spans {extent} elements along spatial axis {axis}, the padded input has only {size + begin + end}")
    if ceil_mode and stride > 1:
        # the last window may hang over the end but must start inside the input or its begin padding
        return (size + begin + minimum(end - extent + stride - 1, -1)) // stride + 1
    return room // stride + 1


def window_counts(
    spatial: Sequence[Dim | None],
    kernel: Sequence[Dim | None],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> tuple[Any, ...]:
    """`window_count` along every spatial axis."""
    rank = len(spatial)
    return tuple(
        window_count(spatial[i], kernel[i], strides[i], dilations[i], pads[i], pads[i + rank], auto_pad, ceil_mode, i) for i in range(rank)
    )


def same_pads(
    spatial: Sequence[Dim], kernel: Sequence[Dim], strides: Sequence[int], dilations: Sequence[int], auto_pad: str
) -> tuple[Any, ...]:
    """The pads that SAME_UPPER or SAME_LOWER stand for; symbolic sizes give symbolic pads."""
    begins, ends = [], []
    for size, extent, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        span = (extent - 1) * dilation + 1
        total = maximum((ceildiv(size, stride) - 1) * stride + span - size, 0)
        small = total // 2
        begins.append(small if auto_pad == "SAME_UPPER" else total - small)
        ends.append(total - small if auto_pad == "SAME_UPPER" else small)
    return (*begins, *ends)


def resolved_pads(
    spatial: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> tuple[Any, ...]:
    """Explicit pads for any ``auto_pad``."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(spatial, kernel, strides, dilations, auto_pad)
    return explicit_pads(pads, len(spatial), auto_pad)


def padded(x: Array, begins: Sequence[int], ends: Sequence[int], fill: Any = 0) -> Array:
    """``x`` with its trailing axes padded by a constant; negative pads crop."""
    if not any(begins) and not any(ends):
        return x
    lead = x.ndim - len(begins)
    sizes = [n + b + e for n, b, e in zip(x.shape[lead:], begins, ends, strict=True)]
    result = np.full((*x.shape[:lead], *sizes), fill, x.dtype) if fill else np.zeros((*x.shape[:lead], *sizes), x.dtype)
    target, source = [slice(None)] * lead, [slice(None)] * lead
    for n, b, e in zip(x.shape[lead:], begins, ends, strict=True):
        target.append(slice(max(b, 0), n + b + min(e, 0)))
        source.append(slice(max(-b, 0), n + min(e, 0)))
    if any(s.stop is not None and s.stop <= (s.start or 0) for s in source):
        return result
    result[tuple(target)] = x[tuple(source)]
    return result


def window_view(x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], counts: Sequence[int]) -> Array:
    """A view ``[..., *counts, *kernel]`` of the windows of a padded array ``[..., *spatial]``."""
    lead = x.ndim - len(counts)
    step = x.strides[lead:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:lead], *counts, *kernel),
        (
            *x.strides[:lead],
            *(s * n for s, n in zip(strides, step, strict=True)),
            *(d * n for d, n in zip(dilations, step, strict=True)),
        ),
        writeable=False,
    )


def taps(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], counts: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each position inside the window, in row-major order, the view ``[..., *counts]`` of the elements under it."""
    for offset in np.ndindex(*kernel):
        yield offset, x[tap_index(offset, strides, dilations, counts)]


def tap_index(offset: Sequence[int], strides: Sequence[int], dilations: Sequence[int], counts: Sequence[int]) -> tuple[Any, ...]:
    """The index of the elements that lie under one window position, for the trailing axes of a padded array."""
    slices = [
        slice(o * d, o * d + (n - 1) * s + 1, s) if n else slice(0, 0)
        for o, s, d, n in zip(offset, strides, dilations, counts, strict=True)
    ]
    return (..., *slices)
