"""Padding: what batches of unequal lengths waste, and the buckets that waste least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Price = Callable[[int], float]


def padding_overhead(lengths: Sequence[int]) -> Fraction:
    """The share of a padded batch that is padding: 1 - ΣL / (B Lmax).

    >>> padding_overhead([4, 2, 2])
    Fraction(1, 3)
    """
    longest = max(lengths, default=0)
    return 1 - Fraction(sum(lengths), len(lengths) * longest) if longest else Fraction(0)


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
    best: list[float] = [0.0, *([float("inf")] * len(sizes))]
    cuts: list[list[int]] = []
    for _ in range(min(count, len(sizes))):
        row, chosen = [0.0], [0]
        for last in range(1, len(sizes) + 1):
            found = min((best[i] + prices[last - 1] * (before[last] - before[i]), i) for i in range(last))
            row.append(found[0])
            chosen.append(found[1])
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
    used = sum(weight * _limit(size, kept) for size, weight in zip(sizes, weights, strict=True))
    mean = sum(size * weight for size, weight in zip(sizes, weights, strict=True))
    return Buckets(kept, best[-1] / total, 1.0 - mean / used)


def _limit(size: int, limits: Sequence[int]) -> int:
    return next(limit for limit in limits if limit >= size)
