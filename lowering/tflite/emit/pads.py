"""PAD and PADV2, with dimensions merged where XNNPACK's kernel wants it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..emitter import Emitter

SHORT = 16
"""Elements behind the innermost padded dimension up to which they are padded as a part of it. XNNPACK copies them in runs of their own, at
7 ns each, which changes of shape cost for 32 of them: an image of 224 x 224 x 3 takes 0.4 ms; as one of 224 x 672 it takes 0.03 ms."""
FEWEST = 512
"""Runs from which the changes of shape pay."""
Widths = Sequence[tuple[int, int]]


def pad_into(e: Emitter, x: int, widths: Widths, y: int, fill: int | None = None, merge: bool = True) -> None:
    """Write a tensor with more elements around it.

    Args:
        e: the emitter.
        x: the tensor.
        widths: what is added before and after each dimension.
        y: the result.
        fill: a scalar; zero when None.
        merge: whether short runs are merged; not for a convolution that follows, into which XNNPACK takes the zeros around an image.
    """
    shape, merged = merged_dimensions(e.shape(x), widths, merge=merge)
    if len(shape) == len(widths):
        _write(e, x, merged, y, fill)
        return
    grown = [None if d is None else d + before + after for d, (before, after) in zip(shape, merged, strict=True)]
    inner = e.like(x, grown)
    _write(e, e.reshaped(x, shape), merged, inner, fill)
    e.reshape_into(inner, y, e.shape(y))


def merged_dimensions(
    shape: Sequence[int | None], widths: Widths, most: int = 5, merge: bool = True
) -> tuple[list[int | None], list[tuple[int, int]]]:
    """Shape and widths with short runs taken as parts of the dimension before them, and few enough dimensions as far as that is possible.

    >>> merged_dimensions((1, 224, 224, 3), ((0, 0), (1, 1), (2, 0), (0, 0)))
    ([1, 224, 672], [(0, 0), (1, 1), (6, 0)])
    >>> merged_dimensions((1, 56, 56, 64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    ([1, 56, 56, 64], [(0, 0), (1, 1), (1, 1), (0, 0)])
    """
    sizes, kept = list(shape), list(widths)
    last = max((axis for axis, width in enumerate(widths) if width != (0, 0)), default=len(shape) - 1)
    inside = sizes[last:]
    if merge and last < len(shape) - 1 and sizes.count(None) <= 1 and None not in inside:
        known = [n for n in inside if n is not None]
        run = prod(known[1:])
        before, after = kept[last]
        rows = prod(n for n in sizes[:last] if n is not None) * (known[0] + before + after)
        if run <= SHORT and rows >= FEWEST:
            sizes[last:], kept[last:] = [prod(known)], [(before * run, after * run)]
    if len(sizes) <= most:
        return sizes, kept
    merged: list[int | None] = []
    around: list[tuple[int, int]] = []
    for size, width in zip(sizes, kept, strict=True):
        nearer = merged[-1] if merged else None
        if nearer is not None and size is not None and width == (0, 0) and around[-1] == (0, 0):
            merged[-1] = nearer * size
        else:
            merged.append(size)
            around.append(width)
    return merged, around


def _write(e: Emitter, x: int, widths: Widths, y: int, fill: int | None) -> None:
    amounts = e.constant(np.asarray(widths, np.int32))
    if fill is None:
        e.op("PAD", [x, amounts], [y])
    else:
        e.op("PADV2", [x, amounts, fill], [y])
