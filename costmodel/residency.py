"""Where operands come from: LRU reuse distances over a schedule, and an exact simulator to check them.

The reuse distance of an access is the number of bytes of distinct memory touched since the same tensor was touched last, its own size
included. A fully associative least-recently-used memory of C bytes still holds a tensor that is streamed through exactly when the
distance is at most C. Which tensors lie between two accesses is a matter of order alone, so that the sets are found once and the sums
evaluated for many sizes at once. Runs follow each other: what one run touched last is what the next finds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluation import Array
from .schedule import Schedule

Index = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Reuse:
    """The sets of blocks between accesses, as sparse rows.

    Attributes:
        kernel: of every access, the position of its kernel.
        tensor: of every access, the tensor.
        write: of every access, whether it writes.
        block: of every tensor, the block of memory that it lies in.
        blocks: how many blocks there are.
        members: blocks of all sets, one after the other.
        starts: where the set of an access begins in `members`.
        complement: whether the set lists the blocks that were *not* touched.
    """

    kernel: Index
    tensor: Index
    write: np.ndarray[Any, np.dtype[np.bool_]]
    block: Index
    blocks: int
    members: Index
    starts: Index
    complement: np.ndarray[Any, np.dtype[np.bool_]]

    def distances(self, tensor_bytes: Array) -> Array:
        """Reuse distances in bytes ``[accesses, n]`` for sizes of tensors ``[tensors, n]``."""
        sizes = np.zeros((self.blocks + 1, tensor_bytes.shape[1]))
        np.maximum.at(sizes, self.block, tensor_bytes)  # the last row stays zero and pads empty sets
        sums = np.add.reduceat(sizes[self.members], self.starts, axis=0)
        total = sizes.sum(axis=0)
        own = sizes[self.block[self.tensor]]
        return own + np.where(self.complement[:, None], total[None, :] - own - sums, sums)


def reuse_of(schedule: Schedule, typical: Array | None = None, arena: bool = True) -> Reuse:
    """The structure of reuse in a schedule that runs again and again.

    Args:
        typical: a representative size of every tensor, by which memory of dead activations is given to new ones.
        arena: activations share memory as runtimes do it; else every tensor has its own.
    """
    kernels: list[int] = []
    tensors: list[int] = []
    writes: list[bool] = []
    for position, kernel in enumerate(schedule.kernels):
        for access in kernel.accesses:
            kernels.append(position)
            tensors.append(access.tensor)
            writes.append(access.write)
    block = _arena(schedule, typical) if arena and typical is not None else list(range(len(schedule.tensors)))
    count = max(block, default=-1) + 1
    members: list[int] = []
    starts: list[int] = []
    complement: list[bool] = []
    order: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))  # blocks from the least to the most recently used
    for index in [block[t] for t in tensors]:  # the first run only fills the order
        order.move_to_end(index)
    for index in [block[t] for t in tensors]:
        after: list[int] = []
        for other in reversed(order):
            if other == index:
                break
            after.append(other)
        flip = 2 * len(after) > count
        if flip:
            touched = set(after)
            after = [b for b in range(count) if b not in touched and b != index]
        starts.append(len(members))
        members.extend(after or [count])
        complement.append(flip)
        order.move_to_end(index)
    return Reuse(
        np.array(kernels, np.intp),
        np.array(tensors, np.intp),
        np.array(writes, np.bool_),
        np.array(block, np.intp),
        count,
        np.array(members, np.intp),
        np.array(starts, np.intp),
        np.array(complement, np.bool_),
    )


def lifetimes(schedule: Schedule) -> tuple[list[int], list[int]]:
    """Of every tensor, the positions of the first and the last kernel that need it; inputs from the start, outputs to the end."""
    last = len(schedule.kernels) - 1
    first = [0 if t.role in ("input", "weight") else -1 for t in schedule.tensors]
    final = [last if t.role in ("output", "weight") else 0 for t in schedule.tensors]
    for position, kernel in enumerate(schedule.kernels):
        for access in kernel.accesses:
            if first[access.tensor] < 0:
                first[access.tensor] = position
            final[access.tensor] = max(final[access.tensor], position)
    return [max(f, 0) for f in first], final


def _arena(schedule: Schedule, typical: Array) -> list[int]:
    """Blocks of memory: activations take the free block that fits best, else a new one; everything else has its own.

    Elementwise kernels write into an operand that nothing needs any more.
    """
    first, final = lifetimes(schedule)
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for tensor, described in enumerate(schedule.tensors):
        if described.role == "activation":
            begins.setdefault(first[tensor], []).append(tensor)
            ends.setdefault(final[tensor], []).append(tensor)
    block = [-1] * len(schedule.tensors)
    free: list[tuple[float, int]] = []
    capacity: list[float] = []
    for tensor, described in enumerate(schedule.tensors):
        if described.role != "activation":
            block[tensor] = len(capacity)
            capacity.append(float(typical[tensor]))
    for position, kernel in enumerate(schedule.kernels):
        dying = ends.get(position, [])
        for tensor in begins.get(position, ()):
            size = float(typical[tensor])
            over = [t for t in dying if t != tensor and typical[t] == size and first[t] < position]
            if over and kernel.geometry.kernel == "elementwise":
                block[tensor] = block[over[0]]
                dying.remove(over[0])
                continue
            fitting = [f for f in free if size <= f[0] <= 2 * size]
            if fitting:
                chosen = min(fitting)
                free.remove(chosen)
                block[tensor] = chosen[1]
            else:
                block[tensor] = len(capacity)
                capacity.append(size)
        for tensor in dying:
            free.append((capacity[block[tensor]], block[tensor]))
    return block


def resident_share(distance: Array, capacity: float, softness: float = 0.0) -> Array:
    """The share of an access that a memory of this capacity still holds.

    Args:
        distance: reuse distances in bytes.
        capacity: bytes.
        softness: octaves of distance over which the share falls from 1 to 0 around the capacity: caches are neither fully associative
            nor empty of other data. Zero is the exact rule.
    """
    if softness == 0.0:
        return (distance <= capacity).astype(np.float64)
    octaves = np.log2(np.maximum(distance, 1.0) / capacity)
    return np.clip(0.5 - octaves / softness, 0.0, 1.0)


class LruCache:
    """A fully associative least-recently-used cache of lines, simulated access by access."""

    def __init__(self, capacity: int, line: int = 64) -> None:
        """An empty cache.

        Args:
            capacity: bytes, a multiple of the line.
            line: bytes of one line.
        """
        self.lines = capacity // line
        self.line = line
        self.held: OrderedDict[int, bool] = OrderedDict()
        self.hits = self.misses = self.written_back = 0

    def access(self, address: int, write: bool = False) -> bool:
        """Touch one byte address; whether its line was held."""
        tag = address // self.line
        hit = tag in self.held
        if hit:
            self.hits += 1
            self.held.move_to_end(tag)
            self.held[tag] = self.held[tag] or write
        else:
            self.misses += 1
            if len(self.held) >= self.lines:
                _, dirty = self.held.popitem(last=False)
                self.written_back += dirty
            self.held[tag] = write
        return hit

    def stream(self, start: int, length: int, write: bool = False) -> int:
        """Touch consecutive bytes once, in order; the bytes of the lines that were missing."""
        before = self.misses
        for address in range(start // self.line * self.line, start + length, self.line):
            self.access(address, write)
        return (self.misses - before) * self.line

    @property
    def traffic(self) -> int:
        """Bytes moved to and from the next level so far, dirty lines still held not counted."""
        return (self.misses + self.written_back) * self.line


def simulate(schedule: Schedule, tensor_bytes: Sequence[int], capacity: int, line: int = 64, runs: int = 2) -> list[int]:
    """Bytes that every access of the last run misses in an exact LRU cache, tensors streamed whole and one after another."""
    starts: list[int] = []
    address = 0
    for size in tensor_bytes:
        starts.append(address)
        address += -(-size // line) * line
    cache = LruCache(capacity, line)
    missed: list[int] = []
    for run in range(runs):
        for kernel in schedule.kernels:
            for access in kernel.accesses:
                found = cache.stream(starts[access.tensor], tensor_bytes[access.tensor], access.write)
                if run == runs - 1:
                    missed.append(found)
    return missed
