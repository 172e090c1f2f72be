"""Whether a convolution takes less time by minimal filtering, and with which tiles.

Fewer products stand against tensors that are written and read between operators, and against more weights. The rates below compare
these on a processor that multiplies fast for its memory; where products are dearer, relative to memory, the gain is greater.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .minimal_filtering import minimal_filtering

MOST_PRODUCTS = 6  # of one axis; with eight, numbers as large as 36 in the transforms cost two more digits
WORTH_IT = 0.85  # of the plain form's time
NEAR_BYTES = 1 << 22  # activations of at most so many bytes are read from caches
NEAR, FAR, COLD = 3.5, 8.0, 12.0
"""Floating-point operations in the time of one byte: of an activation in caches, of one beyond, of a weight that is read once.

Fitted to 72 convolutions in LiteRT 2.3 with XNNPACK on one core with vectors of 512 bits, at 240 GFLOP/s.
"""
BYTES = 4  # of a number


@dataclass(frozen=True)
class Tiling:
    """How many neighbouring results along height and width belong to a tile; 1 leaves an axis as it is."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Plane:
    """A convolution with stride 1 and no dilation.

    Attributes:
        height: of the result.
        width: of the result.
        kernel: taps along height and width.
        channels: of the operand.
        filters: how many.
        batch: images.
    """

    height: int
    width: int
    kernel: tuple[int, int]
    channels: int
    filters: int
    batch: int = 1


def tiling_of(plane: Plane) -> Tiling | None:
    """The tiles with the least time; None when the plain form takes hardly more.

    >>> tiling_of(Plane(28, 28, (3, 3), 512, 512)), tiling_of(Plane(14, 14, (3, 3), 256, 256))
    (Tiling(rows=4, columns=2), Tiling(rows=2, columns=2))
    >>> tiling_of(Plane(112, 112, (3, 3), 3, 64)) is None
    True
    """
    plain = _time(plane, Tiling(1, 1))
    best = min(_candidates(plane.kernel), key=lambda tiling: _time(plane, tiling), default=None)
    return best if best is not None and _time(plane, best) <= WORTH_IT * plain else None


def _candidates(kernel: tuple[int, int]) -> Iterator[Tiling]:
    """Tiles of which one axis at most has the most products: rounding errors of both axes multiply."""
    for rows in (1, 2, 4):
        for columns in (1, 2, 4):
            counts = [m + r - 1 if m > 1 else 1 for m, r in zip((rows, columns), kernel, strict=True)]
            usable = all(m == 1 or r > 1 and count % 2 == 0 for m, r, count in zip((rows, columns), kernel, counts, strict=True))
            if usable and max(counts) > 1 and max(counts) <= MOST_PRODUCTS and counts != [MOST_PRODUCTS, MOST_PRODUCTS]:
                yield Tiling(rows, columns)


def growth(kernel: tuple[int, int], tiling: Tiling) -> float:
    """How many numbers filters have in tiles, relative to their taps.

    >>> growth((3, 3), Tiling(4, 1)), growth((3, 3), Tiling(1, 1))
    (2.0, 1.0)
    """
    return math.prod(_factors(kernel, tiling)) / math.prod(kernel)


def _factors(kernel: tuple[int, int], tiling: Tiling) -> list[int]:
    """Products of an axis in tiles, taps of one that stays as it is."""
    return [m + r - 1 if m > 1 else r for m, r in zip((tiling.rows, tiling.columns), kernel, strict=True)]


def _time(plane: Plane, tiling: Tiling) -> float:
    """The time in floating-point operations; of the plain form, products and weights only."""
    heights, widths = math.ceil(plane.height / tiling.rows), math.ceil(plane.width / tiling.columns)
    rows, columns = _factors(plane.kernel, tiling)
    pairs, tiles = plane.channels * plane.filters, plane.batch * heights * widths
    image = plane.batch * plane.height * plane.width
    time = rows * columns * pairs * (2 * tiles + COLD * BYTES)
    moved = 0
    if tiling.rows > 1:
        moved += rows * (image + plane.batch * heights * plane.width) * plane.channels
        moved += tiling.columns * _combining(plane.kernel[0], tiling.rows) * tiles * plane.filters
    if tiling.columns > 1:
        parts = rows if tiling.rows > 1 else 1
        moved += parts * columns * (plane.batch * heights * plane.width + tiles) * plane.channels
        moved += parts * _combining(plane.kernel[1], tiling.columns) * tiles * plane.filters
    moved += _joining(plane, tiling) * image * plane.filters
    near = BYTES * image * max(plane.channels, plane.filters) <= NEAR_BYTES
    return time + (NEAR if near else FAR) * BYTES * moved


def _joining(plane: Plane, tiling: Tiling) -> int:
    """How often each result is read or written until it is in its place."""
    axes = (tiling.rows > 1) + (tiling.columns > 1)
    if joins_at_once(plane, tiling):
        return 4
    return 2 * (axes + 1) if axes else 0


def joins_at_once(plane: Plane, tiling: Tiling) -> bool:
    """Whether DEPTH_TO_SPACE puts the results of tiles in their places."""
    return tiling == Tiling(2, 2) and plane.height % 2 == 0 and plane.width % 2 == 0


def _combining(taps: int, results: int) -> int:
    """Numbers read and written, for each tile, by what makes results of products."""
    found = minimal_filtering(results, taps)
    count = len(found.pairs)
    total = 2 * count * 3
    for k in range(results):
        terms = count + (k == 0) + (k == results - 1)
        total += 3 * (terms - 1) + 2 * sum(p**k != 1 for p in found.pairs)
    return total
