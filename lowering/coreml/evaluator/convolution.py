"""Convolution and its transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.ops.conv import ConvTranspose, convolve
from ....ir.ops.windows import same_pads
from .errors import undefined, unsupported
from .registry import operator
from .values import Array


def integers(values: Any, count: int, default: int) -> tuple[int, ...]:
    """A per-axis operand as integers."""
    if values is None:
        return (default,) * count
    result = tuple(int(v) for v in np.asarray(values).reshape(-1))
    if len(result) != count:
        undefined(f"{list(result)} does not fit {count} spatial axes")
    return result


def window_pads(
    pad_type: str, pad: Any, spatial: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """All begins, then all ends, of the padding that ``pad_type`` stands for."""
    rank = len(spatial)
    if pad_type == "valid":
        return (0,) * (2 * rank)
    if pad_type in ("same", "same_lower"):
        return same_pads(spatial, kernel, strides, dilations, "SAME_UPPER" if pad_type == "same" else "SAME_LOWER")
    if pad_type != "custom":
        unsupported(f"its pad_type is '{pad_type}'")
    stated = integers(pad, 2 * rank, 0)
    return stated[0::2] + stated[1::2]


def biased(y: Array, bias: Array | None) -> Array:
    """The result of a convolution plus a value per channel."""
    if bias is None:
        return y
    return y + bias.reshape(-1, *(1,) * (y.ndim - 2)) if bias.ndim else y + bias


@operator("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Any = None,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = None,
    groups: Any = 1,
) -> Array:
    """Convolution of ``x [batch, channels, *spatial]`` with ``weight [filters, channels / groups, *kernel]``.

    Float32 products are summed in float64 and rounded once, so that equal filters give equal results.
    """
    rank = x.ndim - 2
    steps, gaps = integers(strides, rank, 1), integers(dilations, rank, 1)
    if weight.ndim != x.ndim or weight.shape[1] * int(groups) != x.shape[1] or weight.shape[0] % int(groups):
        undefined(f"input {list(x.shape)} and weight {list(weight.shape)} in {int(groups)} groups do not fit")
    pads = window_pads(pad_type, pad, x.shape[2:], weight.shape[2:], steps, gaps)
    if x.dtype == np.float32:
        summed = convolve(x.astype(np.float64), weight.astype(np.float64), steps, gaps, pads, int(groups))
        return biased(summed, bias).astype(np.float32)
    return biased(convolve(x, weight, steps, gaps, pads, int(groups)), bias)


@operator("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Any = None,
    output_shape: Any = None,
    pad_type: str = "valid",
    strides: Any = None,
    dilations: Any = None,
    groups: Any = 1,
) -> Array:
    """Transposed convolution of ``x [batch, channels, *spatial]`` with ``weight [channels, filters / groups, *kernel]``.

    A stated output shape that is larger than the pads leave is filled at its ends.
    """
    rank = x.ndim - 2
    steps, gaps = integers(strides, rank, 1), integers(dilations, rank, 1)
    if weight.ndim != x.ndim or weight.shape[0] != x.shape[1]:
        undefined(f"input {list(x.shape)} and weight {list(weight.shape)} do not fit")
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], steps, weight.shape[2:], gaps, strict=True)]
    stated = None if output_shape is None else integers(output_shape, rank + 2, 0)[2:]
    if pad_type == "same":
        sizes = stated or tuple(n * s for n, s in zip(x.shape[2:], steps, strict=True))
        totals = [max(f - n, 0) for f, n in zip(full, sizes, strict=True)]
        begins, ends = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    else:
        pads = window_pads(pad_type, pad, x.shape[2:], weight.shape[2:], steps, gaps)
        begins, ends = pads[:rank], pads[rank:]
        sizes = stated or tuple(f - b - e for f, b, e in zip(full, begins, ends, strict=True))
    extra = tuple(n - (f - b - e) for n, f, b, e in zip(sizes, full, begins, ends, strict=True))
    if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        undefined(f"no transposed convolution with these pads gives {list(sizes)}")
    op = ConvTranspose(dilations=gaps, group=int(groups), output_padding=extra, pads=(*begins, *ends), strides=steps)
    return biased(op.evaluate(x, weight), bias)
