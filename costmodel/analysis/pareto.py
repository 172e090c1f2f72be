"""The choices that nothing beats in every respect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def dominates(left: Sequence[float], right: Sequence[float]) -> bool:
    """Whether one point is nowhere worse and somewhere better; less is better.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2))
    (True, False)
    """
    return all(a <= b for a, b in zip(left, right, strict=True)) and any(a < b for a, b in zip(left, right, strict=True))


def pareto_front(items: Sequence[Item], objectives: Sequence[Sequence[float]]) -> list[Item]:
    """The items that no other dominates, in the order of their first objective; equals stay together.

    Args:
        items: choices.
        objectives: a point for each; less is better everywhere.
    """
    order = sorted(range(len(items)), key=lambda i: tuple(objectives[i]))
    kept: list[int] = []
    for index in order:  # in lexicographic order a point can only be dominated by an earlier one
        if not any(dominates(objectives[other], objectives[index]) for other in kept):
            kept.append(index)
    return [items[i] for i in kept]
