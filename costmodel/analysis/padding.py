"""Padding: what batches of unequal lengths waste, and the buckets that waste least."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Price = Callable[[int], float]


def padding_overhead(lengths: Sequence[int]) -> Fraction:
    """The share of a padded batch that is padding: 1 - ΣL / (B Lmax).

    >>> padding_overhead([4, 2, 2])
    Fraction(1, 3)
    """
    return bucket_padding(Counter(lengths), (max(lengths, default=0),))


def bucket_padding(lengths: Mapping[int, int], limits: Sequence[int]) -> Fraction:
    """The share of padding when every item is padded to the first limit that holds it: 1 - ΣL / Σ padded L.

    Args:
        lengths: how many items have each length.
        limits: ascending, the last one no shorter than any item.

    >>> bucket_padding({4: 1, 2: 2}, (4,)), bucket_padding({4: 1, 2: 2}, (2, 4))
    (Fraction(1, 3), Fraction(0, 1))
    """
    padded = sum(count * bucket_of(length, limits) for length, count in lengths.items())
    return 1 - Fraction(sum(length * count for length, count in lengths.items()), padded) if padded else Fraction(0)


def bucket_of(length: int, limits: Sequence[int]) -> int:
    """The first of ascending limits that holds an item of this length."""
    return limits[bisect_left(limits, length)]


def expected_price(lengths: Mapping[int, float], limits: Sequence[int], price: Price) -> float:
    """What an item costs on average when it is padded to the first limit that holds it."""
    total = sum(lengths.values())
    return sum(weight * price(bucket_of(length, limits)) for length, weight in lengths.items()) / total if total else 0.0


@dataclass(frozen=True)
class Buckets:
    """Lengths to which items are padded.

    Attributes:
        limits: the greatest length of each bucket, ascending; an item goes to the first that holds it.
        price: expected price of an item: its padded length, or what the given price says of it.
        padding: expected share of padding, 1 - E[L] / E[padded L].
    """

    limits: tuple[int, ...]
    price: float
    padding: float


def best_buckets(lengths: Mapping[int, float], count: int, price: Price | None = None, granularity: int = 1) -> Buckets:
    """The buckets that minimise the expected price of an item, by dynamic programming over the distinct lengths.

    best[k][j] = min over i of best[k-1][i] + price(L_j) (w_{i+1} + … + w_j): O(n² count).

    Args:
        lengths: weight (count or probability) of every length.
        count: at most so many buckets.
        price: what an item padded to a length costs, not decreasing; the length itself when None.
        granularity: limits are multiples of this.
    """
    sizes = sorted(length for length, weight in lengths.items() if weight > 0)
    if not sizes or count < 1:
        return Buckets((), 0.0, 0.0)
    weights = [lengths[size] for size in sizes]
    limits = [-(-size // granularity) * granularity for size in sizes]
    prices = [float(limit) if price is None else price(limit) for limit in limits]
    before = [0.0]
    for weight in weights:
        before.append(before[-1] + weight)
    sums = np.asarray(before)
    best = np.full(len(sizes) + 1, np.inf)
    best[0] = 0.0
    cuts: list[list[int]] = []
    for _ in range(min(count, len(sizes))):
        row, chosen = np.zeros_like(best), [0]
        for last in range(1, len(sizes) + 1):
            totals = best[:last] + prices[last - 1] * (sums[last] - sums[:last])
            cut = int(totals.argmin())
            row[last] = totals[cut]
            chosen.append(cut)
        best = row
        cuts.append(chosen)
    chosen_limits: list[int] = []
    position = len(sizes)
    for chosen in reversed(cuts):
        if position == 0:
            break
        chosen_limits.append(limits[position - 1])
        position = chosen[position]
    kept = tuple(sorted(set(chosen_limits)))
    total = before[-1]
    used = sum(weight * bucket_of(size, kept) for size, weight in zip(sizes, weights, strict=True))
    mean = sum(size * weight for size, weight in zip(sizes, weights, strict=True))
    return Buckets(kept, float(best[-1]) / total, 1.0 - mean / used)
