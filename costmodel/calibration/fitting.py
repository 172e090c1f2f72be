"""Coefficients from measured graphs: first one bounded linear least-squares problem over all classes of kernels, then their refinement.

The time of a graph is the overhead of a run plus the sum over its kernels of constant + (Tc^p + Tm^p)^(1/p), with Tc and Tm linear in
coefficients that cannot be negative. Relative errors are minimised. The linear problem has p = 1; `refinement` finds p and the rest from
there. A byte from a farther level costs at least what one from a nearer level costs: the unknowns are the increments from level to level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..features import FeatureRow
from ..kernels import KERNELS
from .refinement import SWEEPS, Block, norm, refine

Key = tuple[str, str, str]  # kernel class, variant, element type
LEAST = 4  # graphs with a variant before it gets coefficients of its own
HUBER = 0.12  # relative error from which an observation counts less
RIDGE = 2e-4
SHRINK = 1e-2
ROUNDS = 3
LAUNCHES = ("view", "control")  # classes that cost a launch and nothing else


@dataclass(frozen=True)
class Observation:
    """A measured graph.

    Attributes:
        seconds: of one inference.
        rows: features of its kernels.
        ends: bound inputs and outputs.
        focus: what it is about.
        name: for reports.
        cold: how far its operands overflow every memory level but the last; see `model.coldness`.
        parts: what groups of its kernels took by the runtime's own counters.
        whole: whether it is a run; parts have no overhead of one.
    """

    seconds: float
    rows: tuple[FeatureRow, ...]
    ends: int
    focus: str
    name: str = ""
    cold: tuple[float, ...] = ()
    parts: tuple[Observation, ...] = ()
    whole: bool = True


def width_of(kernel: str, levels: int) -> int:
    """Columns of a class: the constant, its features, the memory levels, and of all but the nearest what reads and stalls add."""
    described = KERNELS[kernel]
    return 1 + len(described.features) + levels + (levels - 1) * (2 if described.stall is not None else 1)


@dataclass
class Layout:
    """The columns of the problem.

    Attributes:
        keys: classes that have coefficients, with the position of their first column.
        levels: memory levels from the nearest to the farthest.
        width: columns in all; the first are the overheads: of a run, of a bound input or output, and of a launch that comes from beyond
            each level but the last.
    """

    keys: dict[Key, int]
    levels: tuple[str, ...]
    width: int

    @property
    def fixed(self) -> int:
        """How many columns are overheads."""
        return 1 + len(self.levels)

    def columns(self, key: Key) -> slice:
        """The columns of a class; see `width_of`."""
        start = self.keys[key]
        return slice(start, start + width_of(key[0], len(self.levels)))

    def find(self, row: FeatureRow) -> Key | None:
        """The class whose coefficients price a kernel."""
        for key in ((row.kernel, row.variant, row.dtype), (row.kernel, "", row.dtype), (row.kernel, "", "*")):
            if key in self.keys:
                return key
        return None


@dataclass
class Fit:
    """Coefficients.

    Attributes:
        layout: what the columns mean.
        values: the coefficients, increments for memory levels.
        exponents: p by class.
    """

    layout: Layout
    values: Any
    exponents: dict[Key, float] = field(default_factory=dict)

    def kernel_seconds(self, row: FeatureRow) -> float:
        """The time of one kernel; zero for classes without coefficients."""
        key = self.layout.find(row)
        if key is None:
            return 0.0
        part = self.values[self.layout.columns(key)]
        count = len(KERNELS[key[0]].features)
        compute, memory = _vectors(row, key, self.layout)
        powers = np.array([compute @ part[1 : 1 + count]]), np.array([memory @ part[1 + count :]])
        return float(part[0] + norm(*powers, self.exponents.get(key, 1.0))[0])

    def seconds(self, observation: Observation) -> float:
        """The time of a graph."""
        overhead = self.values[: self.layout.fixed] @ _overheads(observation, self.layout)
        return float(overhead + sum(self.kernel_seconds(row) for row in observation.rows))

    def share(self, observation: Observation) -> dict[Key, float]:
        """The part of a graph's time that every class has."""
        found: dict[Key, float] = {}
        for row in observation.rows:
            key = self.layout.find(row)
            if key is not None:
                found[key] = found.get(key, 0.0) + self.kernel_seconds(row)
        total = max(self.seconds(observation), 1e-12)
        return {key: value / total for key, value in found.items()}


def _overheads(observation: Observation, layout: Layout) -> Any:
    """The run, bound inputs and outputs, cold launches by level."""
    cold = observation.cold or (0.0,) * (len(layout.levels) - 1)
    return np.array([float(observation.whole), observation.ends, *(len(observation.rows) * share for share in cold)])


def _vectors(row: FeatureRow, key: Key, layout: Layout) -> tuple[Any, Any]:
    """Features, and bytes that pass through every level (those from farther levels included)."""
    described = KERNELS[key[0]]
    compute = np.array([row.compute[name] for name in described.features])
    if key[0] in LAUNCHES:
        return np.zeros_like(compute), np.zeros(width_of(key[0], len(layout.levels)) - 1 - len(compute))
    tables = (row.reads, row.stalls) if described.stall is not None else (row.reads,)
    through = [_through([table.get(level, 0.0) for level in layout.levels]) for table in (row.memory, *tables)]
    return compute, np.concatenate([through[0], *(part[1:] for part in through[1:])])


def _through(sources: Sequence[float]) -> Any:
    """Bytes that pass through every level, from those that come from each."""
    return np.cumsum(np.array(sources)[::-1])[::-1]


def layout_of(observations: Sequence[Observation], levels: Sequence[str]) -> Layout:
    """Columns for all classes that occur, and for those of their variants that occur often enough."""
    counts: dict[Key, int] = {}
    for observation in observations:
        seen = {(row.kernel, variant, row.dtype) for row in observation.rows if row.known for variant in (row.variant, "")}
        for key in sorted(seen):
            counts[key] = counts.get(key, 0) + 1
    keys: dict[Key, int] = {}
    width = 1 + len(levels)
    for key, number in sorted(counts.items()):
        kernel, variant, dtype = key
        wanted = number >= LEAST if variant else True
        if wanted:
            keys[key] = width
            width += width_of(kernel, len(levels))
    return Layout(keys, tuple(levels), width)


@dataclass
class _Problem:
    """Every kernel of every observation as arrays by class, so that solving again is cheap."""

    layout: Layout
    seconds: Any
    overheads: Any
    keys: list[Key]
    blocks: list[Block]


def _problem(observations: Sequence[Observation], layout: Layout, levels: Mapping[str, float]) -> _Problem:
    found: dict[Key, list[tuple[int, Any, Any]]] = {key: [] for key in layout.keys}
    for index, observation in enumerate(observations):
        for row in observation.rows:
            key = layout.find(row)
            if key is not None:
                found[key].append((index, *_vectors(row, key, layout)))
    used = [key for key in layout.keys if found[key]]
    rates = np.array([levels[level] for level in layout.levels])
    blocks: list[Block] = []
    for key in used:
        owner, compute, memory = (np.stack([entry[i] for entry in found[key]]) for i in range(3))
        typical = np.concatenate([rates, *([rates[1:]] * (2 if KERNELS[key[0]].stall else 1))])
        blocks.append(Block(owner, compute, memory, typical))
    return _Problem(
        layout, np.array([o.seconds for o in observations]), np.stack([_overheads(o, layout) for o in observations]), used, blocks
    )


def fit(observations: Sequence[Observation], levels: Mapping[str, float], layout: Layout | None = None, sweeps: int = SWEEPS) -> Fit:
    """Coefficients that minimise relative errors.

    Args:
        observations: measured graphs.
        levels: memory levels from the nearest to the farthest, with the seconds per byte that copies take there.
        layout: the classes; those that the observations suffice for unless given.
        sweeps: of the refinement; 0 leaves the linear solution, in which nothing overlaps.
    """
    layout = layout or layout_of(observations, list(levels))
    observations = [each for graph in observations for each in (graph, *graph.parts)]
    prior = _prior(observations, layout, levels)
    problem = _problem(observations, layout, levels)
    values = _solve(problem, prior)
    if sweeps == 0:
        return Fit(layout, values)
    own = [layout.columns(key) for key in problem.keys]
    start = values[: layout.fixed], [values[part] for part in own]
    fixed, found, powers = refine(problem.blocks, problem.overheads, problem.seconds, start, [prior[part] for part in own], sweeps)
    for key in layout.keys.keys() - set(problem.keys):  # all kernels of the class have variants: others cost what these do together
        values[layout.columns(key)] = prior[layout.columns(key)]
    values[: layout.fixed] = fixed
    for part, coefficients, block in zip(own, found, problem.blocks, strict=True):
        values[part] = coefficients
        unseen = np.flatnonzero(~(block.compute > 0).any(axis=0)) + part.start + 1
        values[unseen] = prior[unseen]  # what no graph of a variant has costs what it costs in the others
    return Fit(layout, values, dict(zip(problem.keys, powers, strict=True)))


def _prior(observations: Sequence[Observation], layout: Layout, levels: Mapping[str, float]) -> Any:
    """What a class costs when its variants are not told apart: variants keep to it where their own measurements say little."""
    keys: dict[Key, int] = {}
    width = layout.fixed
    for kernel, _, dtype in layout.keys:
        if (kernel, "", dtype) not in keys:
            keys[kernel, "", dtype] = width
            width += width_of(kernel, len(layout.levels))
    pooled = Layout(keys, layout.levels, width)
    values = _solve(_problem(observations, pooled, levels))
    prior = np.zeros(layout.width)
    for key in layout.keys:
        prior[layout.columns(key)] = values[pooled.columns((key[0], "", key[2]))]
    return prior


def _solve(problem: _Problem, prior: Any = None) -> Any:
    """The linear problem, solved until the weights of outliers settle."""
    matrix = np.zeros((len(problem.seconds), problem.layout.width))
    matrix[:, : problem.layout.fixed] = problem.overheads
    for key, block in zip(problem.keys, problem.blocks, strict=True):
        np.add.at(matrix[:, problem.layout.columns(key)], block.owner, block.matrix)
    matrix /= problem.seconds[:, None]
    trust = np.ones(len(problem.seconds))
    values = np.zeros(problem.layout.width)
    for _ in range(ROUNDS):
        values = _bounded(matrix, np.ones(len(problem.seconds)), trust, prior)
        trust = np.minimum(1.0, HUBER / np.maximum(np.abs(matrix @ values - 1.0), 1e-9))
    return values


def _bounded(matrix: Any, wanted: Any, trust: Any, prior: Any = None) -> Any:
    """Least squares with coefficients from zero on; columns are scaled, and a small ridge around the prior decides between equal ones."""
    from scipy.optimize import nnls

    root = np.sqrt(trust)
    weighted = matrix * root[:, None]
    scale = np.sqrt((weighted**2).sum(axis=0))
    used = scale > 1e-300
    if not used.any():
        return np.zeros(matrix.shape[1])
    scaled = weighted[:, used] / scale[used]
    ridge, expected = np.full(int(used.sum()), np.sqrt(RIDGE)), np.zeros(int(used.sum()))
    if prior is not None:
        expected = prior[used] * scale[used]
        ridge = np.sqrt(SHRINK) / np.maximum(expected, 1.0)  # a prior many times too dear must not outweigh the measurements
    stacked = np.vstack([scaled, np.diag(ridge)])
    target = np.concatenate([wanted * root, ridge * expected])
    found, _ = nnls(stacked, target, maxiter=50 * stacked.shape[1])
    values = np.zeros(matrix.shape[1])
    values[used] = found / scale[used]
    return values
