"""Locality of loops over a tensor: how much of each cache line is used, and how often lines are touched again after eviction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .residency import LruCache


@dataclass(frozen=True)
class Locality:
    """How a loop nest walks through memory.

    Attributes:
        contiguity: the share of steps that go to the next element.
        line_use: bytes used over bytes fetched when every run of steps fetches its lines once: 1 is perfect.
        split_share: the share of accesses that straddle two lines (vector loads of `vector` elements).
        run: elements that follow each other before the loop jumps.
    """

    contiguity: float
    line_use: float
    split_share: float
    run: int


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a dense tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return tuple(strides)


def locality(shape: Sequence[int], order: Sequence[int], element_bytes: int = 4, line_bytes: int = 64, vector: int = 8) -> Locality:
    """Locality of visiting all elements of a dense tensor with its axes looped in some order, the last innermost.

    Args:
        shape: sizes of the axes as they lie in memory.
        order: axes from the outermost loop to the innermost.
        element_bytes: bytes per element.
        line_bytes: bytes per cache line.
        vector: elements that one load takes when the run allows it.
    """
    strides = row_major(shape)
    run = 1
    for axis in reversed(order):
        if strides[axis] != run and shape[axis] != 1:
            break
        run *= shape[axis]
    total = math.prod(shape)
    runs = total // run if run else 0
    contiguity = (total - runs) / max(total - 1, 1)
    starts = [(i * run * element_bytes) % line_bytes for i in range(min(runs, line_bytes))] if run > 1 else [0]
    fetched = sum(-(-(start + run * element_bytes) // line_bytes) * line_bytes for start in starts) / max(len(starts), 1)
    width = min(vector, run) * element_bytes
    loads = max(run // min(vector, run), 1)
    splits = [(start + i * width) % line_bytes + width > line_bytes for start in starts for i in range(loads)]
    return Locality(contiguity, run * element_bytes / fetched, sum(splits) / len(splits), run)


def fetched_bytes(shape: Sequence[int], order: Sequence[int], capacity: int, element_bytes: int = 4, line_bytes: int = 64) -> int:
    """Bytes that a cache fetches for the same walk, by exact simulation."""
    strides = row_major(shape)
    cache = LruCache(capacity, line_bytes)
    counters = [0] * len(order)
    total = math.prod(shape)
    for _ in range(total):
        cache.access(sum(c * strides[axis] for c, axis in zip(counters, order, strict=True)) * element_bytes)
        for position in reversed(range(len(order))):
            counters[position] += 1
            if counters[position] < shape[order[position]]:
                break
            counters[position] = 0
    return cache.misses * line_bytes
