"""Memory traffic of matrix products and attention, in elements: closed forms that the simulator confirms.

*Ideal* traffic touches every matrix once. *Naive* traffic is that of the triple loop without any reuse of operands. *Blocked* traffic is
that of square blocks that fit a memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MANAGED_BLOCKS, LRU_BLOCKS = 3, 4


def naive_traffic(m: int, n: int, k: int) -> int:
    """Elements moved by the triple loop when only the accumulator stays: two reads per multiply-accumulate, one write per result."""
    return 2 * m * n * k + m * n


def ideal_traffic(m: Any, n: Any, k: Any) -> Any:
    """Elements moved when every matrix is touched once: m k + k n + m n."""
    return m * k + k * n + m * n


def block_size(capacity: float, unit: int = 1, blocks: int = MANAGED_BLOCKS) -> int:
    """The side of the square blocks of which so many fit into a memory of so many elements, a multiple of the unit.

    Three blocks suffice where software decides what stays (scratchpads, packed panels). A cache that evicts the least recently used
    line needs room for a fourth: the operands' old blocks age while new ones come in, and with three the result's block goes first.
    """
    side = math.isqrt(max(int(capacity) // blocks, 1))
    return max(side // unit * unit, 1)


def blocked_traffic(m: int, n: int, k: int, block: int) -> int:
    """Elements moved when a block of the result stays while blocks of the operands pass by.

    Every operand is read once for each block of the result that needs it: m k ceil(n / B) + k n ceil(m / B) + m n.
    """
    return m * k * -(-n // block) + k * n * -(-m // block) + m * n


def bounded_traffic(batch: Any, m: Any, n: Any, k: Any, capacity: float, left: Any = None) -> Any:
    """Elements that products move to and from beyond a memory of so many elements: ideal where one operand's panel fits, else blocked.

    Works on arrays. The blocks may be as thin as the matrices: a panel of all rows or columns saves the other operand's re-reads.

    Args:
        batch, m, n, k: number, rows, columns and depth of the products.
        capacity: elements that the memory holds.
        left: elements of a left operand; fewer than m k where a convolution slides over its operand instead of unfolding it.
    """
    side = max(block_size(capacity), 1)
    left = m * k if left is None else left
    ideal = left + k * n + m * n
    whole = np.minimum(np.minimum(left, k * n), m * n)  # the smallest matrix stays, the others stream by once
    rereads = left * np.ceil(n / np.maximum(np.minimum(side, n), 1)) + k * n * np.ceil(m / np.maximum(np.minimum(side, m), 1)) + m * n
    return batch * np.where(whole <= capacity / 2, ideal, rereads)


def intensity(macs: float, elements: float, element_bytes: float = 1.0) -> float:
    """Operations (two per multiply-accumulate) per byte, or per element when an element has one byte."""
    return 2.0 * macs / (elements * element_bytes)


def naive_attention_traffic(queries: int, keys: int, size: int) -> int:
    """Elements moved by one head that writes its scores to memory: scores out and in, probabilities out and in, and q, k, v, o.

    With N queries and keys this is 4 N² + 4 N d: Θ(N² + N d).
    """
    return 4 * queries * keys + 2 * queries * size + 2 * keys * size


def flash_attention_traffic(queries: int, keys: int, size: int, capacity: int) -> int:
    """Elements moved by one head that keeps a block of queries in a fast memory while keys and values stream by.

    Rows of queries (with their results and running sums) share the memory with a block of as many keys and values: 4 d + 2 elements a row.
    The keys and values are read once per block of queries: 2 Nk d ceil(Nq (4 d + 2) / M) + 2 Nq d, which is Θ(N² d² / M).
    """
    rows = flash_rows(size, capacity)
    return 2 * keys * size * -(-queries // rows) + 2 * queries * size


def flash_rows(size: int, capacity: int) -> int:
    """Rows of queries that fit beside as many keys and values."""
    return max(capacity // (4 * size + 2), 1)


def convolution_work(channels: int, size: int, taps: int, filters: int | None = None, batch: int = 1) -> tuple[int, int]:
    """Operations, and elements of operand, weights and result, of a convolution with equal spatial sizes.

    2 B C K k² HW operations and B C HW + K C k² + B K HW elements.

    Args:
        channels: C.
        size: H and W.
        taps: k².
        filters: K; as many as channels when None.
        batch: B.
    """
    filters = channels if filters is None else filters
    area = batch * size * size
    return 2 * channels * filters * taps * area, channels * area + filters * channels * taps + filters * area


def depthwise_work(channels: int, size: int, taps: int, batch: int = 1) -> tuple[int, int]:
    """The same for a depthwise convolution: 2 B C k² HW operations and 2 B C HW + C k² elements."""
    area = batch * size * size
    return 2 * channels * taps * area, 2 * channels * area + channels * taps


def convolution_intensity(channels: int, size: int, taps: int, element_bytes: float, filters: int | None = None, batch: int = 1) -> float:
    """Operations per byte of a convolution with equal spatial sizes that touches operand, weights and result once.

    2 B C K k² HW / (bytes (B C HW + K C k² + B K HW)).
    """
    flops, elements = convolution_work(channels, size, taps, filters, batch)
    return flops / (element_bytes * elements)


def depthwise_intensity(channels: int, size: int, taps: int, element_bytes: float, batch: int = 1) -> float:
    """The same for a depthwise convolution."""
    flops, elements = depthwise_work(channels, size, taps, batch)
    return flops / (element_bytes * elements)
