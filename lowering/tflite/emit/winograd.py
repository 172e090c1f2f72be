"""Convolutions by minimal filtering: fewer products than taps, of sums and differences of neighbouring pixels.

A depthwise convolution with few taps makes what one product takes of the image, CONV_2D multiplies all tiles by it, sums of the products
are the results, which are then put side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..emitter import Emitter, activation
from .depthwise import write_depthwise
from .geometry import Window, cropped, output_sizes, padded, window_options, window_with
from .minimal_filtering import Filtering, minimal_filtering
from .shapes import joined
from .winograd_tiling import Plane, Tiling, growth, joins_at_once, tiling_of

ONES = (1, 1)
NONE = activation("NONE")


@dataclass(frozen=True)
class Filters:
    """Constant filters ``[O, I, H, W]`` and a number to add to the result of each."""

    weight: np.ndarray
    bias: np.ndarray
    name: str


def winograd(e: Emitter, source: int, filters: Filters, window: Window, result: int, code: int) -> bool:
    """Write a convolution by minimal filtering; false, and nothing is written, when it should not be or takes hardly less time.

    Args:
        e: the emitter.
        source: ``[batch, height, width, channels]``, not padded.
        filters: what to multiply by.
        window: with its padding.
        result: where it goes.
        code: of the activation.
    """
    plane = _plane_of(window, e.shape(source), len(filters.weight)) if e.winograd is not None else None
    tiling = tiling_of(plane) if plane is not None else None
    if e.winograd is None or plane is None or tiling is None:
        return False
    e.winograd.convolutions.append(e.name(result))
    e.winograd.added_bytes += round(filters.weight.nbytes * (growth(plane.kernel, tiling) - 1))
    _Tiled(e, filters, plane, tiling, code).write(source, window, result)
    return True


def _plane_of(window: Window, shape: Sequence[int | None], filters: int) -> Plane | None:
    """A convolution of ``[batch, height, width, channels]``, None when its windows are not next to each other."""
    batch, height, width, channels = shape
    if height is None or width is None or channels is None or window.strides != ONES or window.dilations != ONES:
        return None
    if min(*window.begins, *window.ends) < 0:
        return None
    rows, columns = output_sizes(window, (height, width))
    assert rows is not None and columns is not None
    return Plane(rows, columns, (window.kernel[0], window.kernel[1]), channels, filters, batch or 1)


class _Tiled:
    """One convolution in tiles.

    Attributes:
        along: the algorithm for height and for width; None for an axis that stays as it is.
    """

    def __init__(self, e: Emitter, filters: Filters, plane: Plane, tiling: Tiling, code: int) -> None:
        self.e, self.filters, self.plane, self.tiling, self.code = e, filters, plane, tiling, code
        sizes = zip((tiling.rows, tiling.columns), plane.kernel, strict=True)
        self.along = [minimal_filtering(m, r) if m > 1 else None for m, r in sizes]

    def write(self, source: int, window: Window, result: int) -> None:
        """Transform, multiply, combine, put in place."""
        begins, ends = _explicit(window)
        rest = [0 if found is not None else 1 for found in self.along]
        pads = [pad * stays for side in (begins, ends) for pad, stays in zip(side, rest, strict=True)]
        kernel = tuple(k if stays else 1 for k, stays in zip(window.kernel, rest, strict=True))
        product = window_with(kernel, ONES, ONES, tuple(pads), self.e.shape(source)[1:3])
        source = padded(self.e, source, product.begins, product.ends, for_convolution=True)
        product = replace(product, begins=(0, 0), ends=(0, 0))
        products = [
            [self._product(tiles, (i, j), product) for j, tiles in enumerate(self._transformed(rows, 1, begins[1]))]
            for i, rows in enumerate(self._transformed(source, 0, begins[0]))
        ]
        self._place(self._results(products), result)

    def _transformed(self, x: int, axis: int, begin: int) -> Iterator[int]:
        """What each product takes of a tensor along an axis; written one by one, so that few of them are kept."""
        found, e = self.along[axis], self.e
        if found is None:
            yield x
            return
        shape = list(e.shape(x))
        size, taps = shape[1 + axis], found.products
        count = -(-(self.plane.height, self.plane.width)[axis] // found.results)
        assert size is not None
        kernel, steps = ((n, 1) if axis == 0 else (1, n) for n in (taps, found.results))
        end = (count - 1) * found.results + taps - size - begin
        pads = (begin, 0, end, 0) if axis == 0 else (0, begin, 0, end)
        window = window_with(kernel, steps, ONES, pads, shape[1:3])
        source, bare = padded(e, x, window.begins, window.ends, for_convolution=True), replace(window, begins=(0, 0), ends=(0, 0))
        shape[1 + axis] = count
        channels = self.plane.channels
        zeros = e.constant(np.zeros(channels, np.float32))
        for row in found.data:
            weight = np.broadcast_to(row.astype(np.float32).reshape(1, *kernel, 1), (1, *kernel, channels))
            y = e.like(x, shape)
            write_depthwise(e, source, (e.constant(np.ascontiguousarray(weight)), zeros), bare, y, NONE)
            yield y

    def _product(self, x: int, index: tuple[int, int], window: Window) -> int:
        """The product with the filters' share; the bias goes where every result takes it once."""
        weight = self.filters.weight.astype(np.float64)
        for axis, (found, i) in enumerate(zip(self.along, index, strict=True), start=2):
            if found is not None:
                weight = np.expand_dims(np.tensordot(weight, found.taps[i], (axis, 0)), axis)
        in_all = all(found is None or i == found.in_all for found, i in zip(self.along, index, strict=True))
        bias = self.filters.bias if in_all else np.zeros_like(self.filters.bias)
        kernel = np.ascontiguousarray(weight.transpose(0, 2, 3, 1).astype(np.float32))
        y = self.e.like(x, [self.e.shape(x)[0], *output_sizes(window, self.e.shape(x)[1:3]), len(kernel)])
        operands = [x, self.e.constant(kernel, f"{self.filters.name}/product"), self.e.constant(bias)]
        self.e.op("CONV_2D", operands, [y], **window_options(window), fusedActivationFunction=NONE)
        return y

    def _results(self, products: list[list[int]]) -> list[list[int]]:
        """Results by row and column of a tile from products by row and column."""
        rows, columns = self.along
        across = products if columns is None else [self._combined(part, columns, rows is None) for part in products]
        if rows is None:
            return across
        down = [self._combined(list(part), rows, True) for part in zip(*across, strict=True)]
        return [list(part) for part in zip(*down, strict=True)]

    def _combined(self, products: list[int], found: Filtering, last: bool) -> list[int]:
        """The results along one axis; ``last`` when nothing but the activation follows."""
        firsts = range(1, len(products) - 1, 2)
        sums = [self._sum("ADD", products[i], products[i + 1]) for i in firsts]
        differences = [self._sum("SUB", products[i], products[i + 1]) for i in firsts]
        results: list[int] = []
        for k in range(found.results):
            terms = [products[0]] if k == 0 else []
            terms += [self._times(y, p**k) for p, y in zip(found.pairs, differences if k % 2 else sums, strict=True)]
            terms += [products[-1]] if k == found.results - 1 else []
            total = terms[0]
            for term in terms[1:]:
                total = self._sum("ADD", total, term, self.code if last and term is terms[-1] else NONE)
            results.append(total)
        return results

    def _sum(self, name: str, x: int, y: int, code: int = NONE) -> int:
        return self.e.binary(name, x, y, fusedActivationFunction=code)

    def _times(self, x: int, factor: int) -> int:
        return x if factor == 1 else self.e.binary("MUL", x, self.e.number(factor), fusedActivationFunction=NONE)

    def _place(self, tiles: list[list[int]], result: int) -> None:
        """Put the results of all tiles in their places, and leave out what lies beyond the end."""
        e, tiling = self.e, self.tiling
        batch, rows, columns, filters = e.shape(tiles[0][0])
        assert rows is not None and columns is not None
        if joins_at_once(self.plane, tiling):
            e.op("DEPTH_TO_SPACE", [joined(e, [y for row in tiles for y in row], 3)], [result], blockSize=2)
            return
        whole = joined(e, [joined(e, row, 3) for row in tiles], 2)
        sizes = [batch, rows * tiling.rows, columns * tiling.columns, filters]
        beyond = [sizes[1] - self.plane.height, sizes[2] - self.plane.width]  # type: ignore[operator]
        if any(beyond):
            cropped(e, e.reshaped(whole, sizes), (0, 0), beyond, result)
        else:
            e.reshape_into(whole, result, sizes)


def _explicit(window: Window) -> tuple[Sequence[int], Sequence[int]]:
    """The pads of a window with stride 1, height and width."""
    if window.padding != "SAME":
        return window.begins, window.ends
    begins = [(k - 1) // 2 for k in window.kernel]
    return begins, [k - 1 - begin for k, begin in zip(window.kernel, begins, strict=True)]
