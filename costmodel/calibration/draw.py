"""Seeded sizes for the graphs of a calibration, and how many copies of an operator a graph has.

Sizes are drawn evenly on a logarithmic scale by a seeded generator and snapped to round numbers about half of the time, since kernels
treat remainders differently. Copies make a graph's operands exceed the caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .recipe import Recipe

HOT, WARM, LARGE, COLD, HUGE = 0, 6 << 20, 14 << 20, 80 << 20, 220 << 20  # bytes that the operands of all copies take at least
MOST_COPIES = 48
LONGEST = 1.5e9  # multiply-accumulates of one graph
Rows = Iterator[Recipe]


class Draw:
    """Seeded sizes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def size(self, low: int, high: int, unit: int = 8) -> int:
        """A size on a logarithmic scale; a multiple of the unit in two of three cases."""
        value = math.exp(self.random.uniform(math.log(low), math.log(high + 0.999)))
        if self.random.random() < 2 / 3 and value >= unit:
            return int(min(max(round(value / unit) * unit, low), high))
        return int(min(max(value, low), high))

    def channels(self, low: int = 8, high: int = 1024) -> int:
        """Channels: multiples of 8, mostly of 16, rarely anything else."""
        value = math.exp(self.random.uniform(math.log(low), math.log(high + 0.999)))
        unit = (16, 16, 16, 8, 8, 1)[int(self.random.integers(0, 6))]
        return int(min(max(round(value / unit) * unit, low), high))

    def one_of(self, options: tuple[Any, ...]) -> Any:
        """One of some options."""
        return options[int(self.random.integers(0, len(options)))]


def copies_for(bytes_of_one: float, wanted: float, macs: float = 0.0) -> int:
    """Copies of an operator that together touch so many bytes, within the limits of a graph."""
    if wanted <= 0:
        return 1
    most = MOST_COPIES if macs <= 0 else max(1, min(MOST_COPIES, int(LONGEST / macs)))
    return int(min(max(1, math.ceil(wanted / max(bytes_of_one, 1))), most))


def residence(index: int) -> float:
    """Bytes that the operands of a graph of this number touch, so that every grid has graphs in all caches."""
    return (HOT, COLD, WARM, HOT, LARGE)[index % 5]
