"""Interval arithmetic: what ranges of the operands say about the functions of symbolic dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

Interval = tuple[float, float]


def times(a: Interval, b: Interval) -> Interval:
    """The interval of the product of two values."""
    products = [0 if 0 in (x, y) else x * y for x in a for y in b]
    return min(products), max(products)


def apply(function: str, operands: Sequence[Interval]) -> Interval:
    """The interval of ``floordiv``, ``mod``, ``min``, ``max`` or ``broadcast`` of values in the given intervals."""
    if function == "floordiv":
        (low, high), (divisor_low, divisor_high) = operands
        if divisor_low <= 0:
            return (-math.inf, math.inf) if low < 0 else (0, high)
        corners = [_floor(x, d) for x in (low, high) for d in (divisor_low, divisor_high)]
        return min(corners), max(corners)
    if function == "mod":
        return 0, max(operands[1][1] - 1, 0)
    if function == "min":
        return min(low for low, _ in operands), min(high for _, high in operands)
    return max(low for low, _ in operands), max(high for _, high in operands)


def _floor(value: float, divisor: float) -> float:
    if math.isinf(value):
        return value
    return 0 if math.isinf(divisor) and value >= 0 else math.floor(value / divisor)
