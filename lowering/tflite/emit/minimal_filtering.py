"""Minimal filtering along one axis: several neighbouring results of a filter from fewer products than taps times results.

The algorithms are those of Toom and Cook over the points 0, 1, -1, 2, -2 … and infinity (Winograd, Arithmetic Complexity of
Computations, SIAM 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016): m results of r taps take m + r - 1
products instead of m r. The matrices are computed exactly, so that nothing but the arithmetic of the run is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Filtering:
    """How m results of r taps follow from n = m + r - 1 products.

    Attributes:
        results: m, how many neighbouring results belong to a tile.
        data: ``[n, n]``, what each product takes of the n inputs of a tile; whole numbers.
        taps: ``[n, r]``, what each product takes of a filter.
        pairs: the points that come with both signs; products 1 and 2 belong to the first, 3 and 4 to the second.

    Product 0 belongs to the point 0, the last one to infinity. A result k is the sum of product 0 (k = 0 only), of p^k times the sum (k
    even) or the difference (k odd) of the products of each pair, and of the last product (k = m - 1 only).
    """

    results: int
    data: np.ndarray
    taps: np.ndarray
    pairs: tuple[int, ...]

    @property
    def products(self) -> int:
        """How many products a tile takes."""
        return len(self.data)

    @property
    def in_all(self) -> int:
        """The product that every result takes once: that of the point 1."""
        return 1


@cache
def minimal_filtering(results: int, taps: int) -> Filtering:
    """The algorithm F(results, taps); an even number of products, four or more.

    >>> minimal_filtering(2, 3).data.astype(int).tolist()
    [[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    >>> minimal_filtering(2, 3).taps.tolist()
    [[-1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
    """
    count = results + taps - 1
    assert count >= 4 and count % 2 == 0, (results, taps)
    pairs = tuple(range(1, count // 2))
    points = [Fraction(0), *(Fraction(sign * p) for p in pairs for sign in (1, -1))]
    data, filters = [], []
    for point in points:
        others = [other for other in points if other != point]
        data.append([*_with_roots(others), Fraction(0)])
        scale = _product([point - other for other in others])
        filters.append([point**k / scale for k in range(taps)])
    data.append(_with_roots(points))
    filters.append([Fraction(0)] * (taps - 1) + [Fraction(1)])
    return Filtering(results, np.array(data, np.float64), np.array(filters, np.float64), pairs)


def _with_roots(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of the polynomial with these roots, constant term first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _product(factors: list[Fraction]) -> Fraction:
    total = Fraction(1)
    for factor in factors:
        total *= factor
    return total
