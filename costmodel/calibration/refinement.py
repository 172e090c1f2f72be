"""The second half of a fit: coefficients and overlap exponents that minimise logarithmic errors, one class of kernels after another.

With all other classes held, the time of a graph is an offset plus the sum over the kernels of one class of
constant + (Tc^p + Tm^p)^(1/p). Its coefficients and p are found by bounded nonlinear least squares with exact derivatives; large errors
count less. Sweeps over all classes repeat until graphs that several classes share are divided between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SWEEPS = 3
OWN = 0.3  # share of a graph's time from which it says something about a class
ENOUGH = 4  # such graphs, or else all that hold the class count
FOR_EXPONENT = 10  # graphs that it takes to tell overlap from its absence
MOST_OVERLAP = 6.0
TOLERANT = 0.06  # logarithmic error beyond which an observation counts less
KEEP = 0.1  # weight of keeping to the prior, in logarithmic errors
LEAST_SECONDS = 1e-12
MOST = 4.0  # times what a copy takes: how dear a byte from a memory level can be


@dataclass(frozen=True)
class Block:
    """The kernels of one class.

    Attributes:
        owner: of every kernel, the position of its graph.
        compute: features ``[kernels, features]``.
        memory: bytes that pass through every level ``[kernels, levels]``.
        typical: seconds per byte that copies take at every level; coefficients beyond `MOST` times that are impossible.
    """

    owner: Any
    compute: Any
    memory: Any
    typical: Any

    @property
    def matrix(self) -> Any:
        """All columns: constant, features, levels."""
        return np.hstack([np.ones((len(self.owner), 1)), self.compute, self.memory])

    def times(self, values: Any, p: float) -> Any:
        """Seconds of every kernel."""
        count = self.compute.shape[1]
        compute, memory = self.compute @ values[1 : 1 + count], self.memory @ values[1 + count :]
        return values[0] + norm(compute, memory, p)


def norm(compute: Any, memory: Any, p: float) -> Any:
    """(Tc^p + Tm^p)^(1/p), without overflow."""
    greater, lesser = np.maximum(compute, memory), np.minimum(compute, memory)
    ratio = np.divide(lesser, greater, out=np.zeros_like(greater), where=greater > 0)
    return greater * (1.0 + ratio**p) ** (1.0 / p)


def refine(
    blocks: list[Block], overheads: Any, seconds: Any, start: tuple[Any, list[Any]], priors: list[Any], sweeps: int = SWEEPS
) -> tuple[Any, list[Any], list[float]]:
    """Coefficients of the overheads, of every class, and the exponents.

    Args:
        blocks: the kernels of every class.
        overheads: columns of what graphs cost beside their kernels ``[graphs, n]``.
        seconds: measured ``[graphs]``.
        start: coefficients to begin with: of the overheads, and of every class.
        priors: to what the coefficients of every class keep where measurements say little.
        sweeps: over all classes.
    """
    fixed, values = start[0].copy(), [v.copy() for v in start[1]]
    exponents = [1.0] * len(blocks)
    parts = [np.bincount(b.owner, b.times(v, 1.0), len(seconds)) for b, v in zip(blocks, values, strict=True)]
    shared = _overhead_block(overheads)
    own = overheads @ fixed
    total = own + sum(parts, np.zeros(len(seconds)))
    for _ in range(sweeps):
        found = _solve(shared, total - own, seconds, _lead(fixed), np.zeros(1 + len(fixed)), None)
        if found is not None:
            fixed = found[0][1:]
            total, own = total - own + overheads @ fixed, overheads @ fixed
        order = sorted(range(len(blocks)), key=lambda i: -float(parts[i].sum()))
        for index in order:
            block = blocks[index]
            found = _solve(block, total - parts[index], seconds, values[index], priors[index], exponents[index])
            if found is None:
                continue
            values[index], exponents[index] = found
            renewed = np.bincount(block.owner, block.times(values[index], exponents[index]), len(seconds))
            total, parts[index] = total - parts[index] + renewed, renewed
    return fixed, values, exponents


def _overhead_block(overheads: Any) -> Block:
    count = len(overheads)
    return Block(np.arange(count), overheads, np.zeros((count, 0)), np.zeros(0))


def _lead(fixed: Any) -> Any:
    """Coefficients of the overheads behind a constant that they do not have."""
    return np.concatenate([[0.0], fixed])


def _solve(block: Block, offset: Any, seconds: Any, start: Any, prior: Any, exponent: float | None) -> tuple[Any, float] | None:
    """New coefficients and exponent of one class; None when too little is known to change them.

    Args:
        exponent: where to begin; None for a class without overlap whose constant is absent.
    """
    before = np.bincount(block.owner, block.times(start, exponent or 1.0), len(seconds))
    graphs = np.unique(block.owner)
    heavy = graphs[before[graphs] >= OWN * (before + offset)[graphs]]
    if len(heavy) < ENOUGH:
        if exponent is None:
            return None
        heavy = graphs
    kept = np.isin(block.owner, heavy)
    position = np.full(len(seconds), -1)
    position[heavy] = np.arange(len(heavy))
    problem = _Sub(block, kept, position[block.owner[kept]], np.maximum(offset[heavy], 0.0), seconds[heavy], prior, exponent is None)
    return problem.solve(start, exponent if exponent is not None else 1.0, len(heavy) >= FOR_EXPONENT)


class _Sub:
    """The problem of one class, in coefficients relative to what would explain the time alone."""

    def __init__(self, block: Block, kept: Any, owner: Any, offset: Any, seconds: Any, prior: Any, bare: bool) -> None:
        self.owner, self.offset, self.seconds = owner, offset, seconds
        self.features = block.compute.shape[1]
        matrix = block.matrix[kept]
        count = np.bincount(owner, minlength=len(seconds))
        share = (seconds / np.maximum(count, 1))[owner]
        typical = [_typical(share, column) for column in matrix.T]
        self.scale = np.concatenate([typical[: 1 + self.features], block.typical * (np.array(typical[1 + self.features :]) > 0)])
        self.used = self.scale > 0
        if bare:
            self.used[0] = False
        self.matrix = matrix * self.scale
        self.prior = np.divide(prior, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        self.keep = KEEP / np.maximum(self.prior, 1.0)

    def solve(self, start: Any, p: float, free: bool) -> tuple[Any, float]:
        """Coefficients and exponent."""
        from scipy import optimize

        least_squares: Any = optimize.least_squares
        used = np.flatnonzero(self.used)
        first = np.divide(start, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        first = np.clip(first, 1e-4, 1e4)[used]
        overlapping = free and bool(self.used[1 + self.features :].any()) and bool(self.used[1 : 1 + self.features].any())
        guess = np.append(first, np.clip(p, 1.05, MOST_OVERLAP - 0.1)) if overlapping else first
        lower = np.append(np.zeros(len(used)), 1.0) if overlapping else np.zeros(len(used))
        most = np.where(used > self.features, MOST, np.inf)
        upper = np.append(most, MOST_OVERLAP) if overlapping else most
        guess[: len(used)] = np.minimum(guess[: len(used)], 0.9 * most)

        def unpack(x: Any) -> tuple[Any, float]:
            whole = np.zeros(len(self.scale))
            whole[used] = x[: len(used)]
            return whole, float(x[-1]) if overlapping else 1.0

        def residuals(x: Any) -> Any:
            whole, power = unpack(x)
            return np.concatenate([self._errors(whole, power), (self.keep * (whole - self.prior))[used]])

        def slopes(x: Any) -> Any:
            whole, power = unpack(x)
            columns = self._slopes(whole, power)
            data = np.hstack([columns[:, used], columns[:, -1:]]) if overlapping else columns[:, used]
            ridge = np.zeros((len(used), data.shape[1]))
            ridge[:, : len(used)] = np.diag(self.keep[used])
            return np.vstack([data, ridge])

        found = least_squares(residuals, guess, slopes, (lower, upper), loss="soft_l1", f_scale=TOLERANT, max_nfev=60)
        whole, power = unpack(found.x)
        whole[whole < 1e-6] = 0.0
        return whole * self.scale, power

    def _parts(self, whole: Any) -> tuple[Any, Any]:
        ends = 1 + self.features
        return self.matrix[:, 1:ends] @ whole[1:ends], self.matrix[:, ends:] @ whole[ends:]

    def _errors(self, whole: Any, p: float) -> Any:
        compute, memory = self._parts(whole)
        times = self.matrix[:, 0] * whole[0] + norm(compute, memory, p)
        return np.log(np.maximum(self.offset + np.bincount(self.owner, times, len(self.seconds)), LEAST_SECONDS) / self.seconds)

    def _slopes(self, whole: Any, p: float) -> Any:
        """Derivatives of the errors by every coefficient and, last, by p."""
        compute, memory = self._parts(whole)
        together = np.maximum(norm(compute, memory, p), LEAST_SECONDS)
        by_compute = (compute / together) ** (p - 1.0)
        by_memory = (memory / together) ** (p - 1.0)
        rows = self.matrix.copy()
        rows[:, 1 : 1 + self.features] *= by_compute[:, None]
        rows[:, 1 + self.features :] *= by_memory[:, None]
        greater, lesser = np.maximum(compute, memory), np.minimum(compute, memory)
        ratio = np.divide(lesser, greater, out=np.zeros_like(greater), where=greater > 0)
        power = ratio**p
        logs = np.log(np.maximum(ratio, 1e-300))
        by_p = together * (power * logs / (p * (1.0 + power)) - np.log1p(power) / p**2)
        total = self.offset + np.bincount(self.owner, self.matrix[:, 0] * whole[0] + norm(compute, memory, p), len(self.seconds))
        summed = np.zeros((len(self.seconds), rows.shape[1] + 1))
        np.add.at(summed, self.owner, np.column_stack([rows, by_p]))
        return summed / np.maximum(total, LEAST_SECONDS)[:, None]


def _typical(share: Any, column: Any) -> float:
    """Seconds per unit of a feature that would explain the times alone; zero for a feature that never occurs."""
    positive = column > 0
    return float(np.median(share[positive] / column[positive])) if positive.any() else 0.0
