"""Coefficients from measured graphs: one bounded least-squares problem over all classes of kernels.

The time of a graph is the overhead of a run plus the sum over its kernels of constant + (Tc^p + Tm^p)^(1/p), with Tc and Tm linear in
coefficients that cannot be negative. Relative errors are minimised. Since x = (Tc^p + Tm^p)^(1/p) is homogeneous, x = wc·Tc + wm·Tm with
wc = (Tc/x)^(p-1) and wm alike: for p above 1 the linear problem is solved again with these weights until they settle. A byte from a
farther level costs at least what one from a nearer level costs: the unknowns are the increments from level to level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..features import FeatureRow
from ..kernels import KERNELS

Key = tuple[str, str, str]  # kernel class, variant, element type
LEAST = 5  # graphs with a variant before it gets coefficients of its own
EXPONENTS = (1.0, 1.5, 2.5, 6.0)
HUBER = 0.12  # relative error from which an observation counts less
RIDGE = 2e-4
SHRINK = 1e-2
ROUNDS = 4
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
    """

    seconds: float
    rows: tuple[FeatureRow, ...]
    ends: int
    focus: str
    name: str = ""
    cold: tuple[float, ...] = ()


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
        """The columns of a class: constant, features, levels."""
        start = self.keys[key]
        return slice(start, start + 1 + len(KERNELS[key[0]].features) + len(self.levels))

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
        return float(part[0] + _norm(compute @ part[1 : 1 + count], memory @ part[1 + count :], self.exponents.get(key, 1.0)))

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
    return np.array([1.0, observation.ends, *(len(observation.rows) * share for share in cold)])


def _norm(compute: float, memory: float, p: float) -> float:
    greater, lesser = max(compute, memory), min(compute, memory)
    return greater * (1.0 + (lesser / greater) ** p) ** (1.0 / p) if greater > 0 else 0.0


def _vectors(row: FeatureRow, key: Key, layout: Layout) -> tuple[Any, Any]:
    """Features, and bytes that pass through every level (those from farther levels included)."""
    compute = np.array([row.compute[name] for name in KERNELS[key[0]].features])
    if key[0] in LAUNCHES:
        return np.zeros_like(compute), np.zeros(len(layout.levels))
    sources = np.array([row.memory.get(level, 0.0) for level in layout.levels])
    return compute, np.cumsum(sources[::-1])[::-1]


def layout_of(observations: Sequence[Observation], levels: Sequence[str]) -> Layout:
    """Columns for all classes that occur, variants among them that occur often enough, and a fallback for every class and type."""
    counts: dict[Key, int] = {}
    for observation in observations:
        seen = {(row.kernel, variant, row.dtype) for row in observation.rows if row.known for variant in (row.variant, "")}
        for key in sorted(seen):
            counts[key] = counts.get(key, 0) + 1
    rare = {(k, d) for (k, v, d), n in counts.items() if v and n < LEAST}
    keys: dict[Key, int] = {}
    width = 1 + len(levels)
    for key, number in sorted(counts.items()):
        kernel, variant, dtype = key
        plain = any((row.kernel, row.variant, row.dtype) == key for o in observations for row in o.rows) if not variant else False
        wanted = number >= LEAST if variant else (plain or (kernel, dtype) in rare)
        if wanted:
            keys[key] = width
            width += 1 + len(KERNELS[kernel].features) + len(levels)
    return Layout(keys, tuple(levels), width)


@dataclass
class _Problem:
    """Every kernel of every observation as arrays: owner, key and features, so that solving again is cheap."""

    layout: Layout
    seconds: Any
    overheads: Any
    keys: list[Key]
    owners: list[Any]
    compute: list[Any]
    memory: list[Any]


def _problem(observations: Sequence[Observation], layout: Layout) -> _Problem:
    found: dict[Key, list[tuple[int, Any, Any]]] = {key: [] for key in layout.keys}
    for index, observation in enumerate(observations):
        for row in observation.rows:
            key = layout.find(row)
            if key is not None:
                found[key].append((index, *_vectors(row, key, layout)))
    used = [key for key in layout.keys if found[key]]
    return _Problem(
        layout,
        np.array([o.seconds for o in observations]),
        np.stack([_overheads(o, layout) for o in observations]),
        used,
        [np.array([i for i, _, _ in found[k]]) for k in used],
        [np.stack([c for _, c, _ in found[k]]) for k in used],
        [np.stack([m for _, _, m in found[k]]) for k in used],
    )


def fit(
    observations: Sequence[Observation], levels: Sequence[str], exponents: Mapping[Key, float] | None = None, layout: Layout | None = None
) -> Fit:
    """Coefficients that minimise relative errors.

    Args:
        observations: measured graphs.
        levels: memory levels from the nearest to the farthest.
        exponents: p by class; chosen among `EXPONENTS` unless given.
        layout: the classes; those that the observations suffice for unless given.
    """
    layout = layout or layout_of(observations, levels)
    prior = _prior(observations, layout)
    problem = _problem(observations, layout)
    if exponents is not None:
        chosen = {key: exponents.get(key, 1.0) for key in problem.keys}
        return Fit(layout, _solve(problem, chosen, prior=prior), chosen)
    chosen = dict.fromkeys(problem.keys, 1.0)
    values = _solve(problem, chosen, prior=prior)
    for position, key in enumerate(problem.keys):
        chosen[key] = _best_exponent(problem, position, values)
    return Fit(layout, _solve(problem, chosen, values, prior=prior), chosen)


def _prior(observations: Sequence[Observation], layout: Layout) -> Any:
    """What a class costs when its variants are not told apart: variants keep to it where their own measurements say little."""
    keys: dict[Key, int] = {}
    width = layout.fixed
    for kernel, _, dtype in layout.keys:
        if (kernel, "", dtype) not in keys:
            keys[kernel, "", dtype] = width
            width += 1 + len(KERNELS[kernel].features) + len(layout.levels)
    pooled = Layout(keys, layout.levels, width)
    problem = _problem(observations, pooled)
    values = _solve(problem, dict.fromkeys(problem.keys, 1.0))
    prior = np.zeros(layout.width)
    for key in layout.keys:
        prior[layout.columns(key)] = values[pooled.columns((key[0], "", key[2]))]
    return prior


def _best_exponent(problem: _Problem, position: int, values: Any) -> float:
    """The exponent with the least error of one class while all others stay as they are."""
    key, owner = problem.keys[position], problem.owners[position]
    rows = np.unique(owner)
    own = _class_seconds(problem, position, values, 1.0)
    total = _predicted(problem, values, dict.fromkeys(problem.keys, 1.0))
    per_graph = np.bincount(owner, own, len(problem.seconds))
    heavy = rows[per_graph[rows] > 0.5 * total[rows]]
    if len(heavy) < LEAST:
        return 1.0
    inside = np.isin(owner, heavy)
    mapping = {int(r): i for i, r in enumerate(heavy)}
    fixed = problem.layout.fixed
    sub = _Problem(
        Layout({key: fixed}, problem.layout.levels, fixed + problem.compute[position].shape[1] + 1 + len(problem.layout.levels)),
        problem.seconds[heavy],
        np.zeros((len(heavy), fixed)),
        [key],
        [np.array([mapping[int(o)] for o in owner[inside]])],
        [problem.compute[position][inside]],
        [problem.memory[position][inside]],
    )
    rest = np.minimum((total - per_graph)[heavy], 0.9 * sub.seconds)
    errors = {p: _error(sub, p, rest) for p in EXPONENTS}
    best = min(errors, key=lambda p: errors[p])
    return best if errors[best] < 0.97 * errors[1.0] else 1.0


def _error(problem: _Problem, p: float, rest: Any) -> float:
    chosen = {problem.keys[0]: p}
    values = _solve(problem, chosen, offset=rest)
    return float(np.mean(np.minimum(np.abs((_predicted(problem, values, chosen) + rest) / problem.seconds - 1.0), 0.5)))


def _predicted(problem: _Problem, values: Any, exponents: Mapping[Key, float]) -> Any:
    total = problem.overheads @ values[: problem.layout.fixed]
    for position, key in enumerate(problem.keys):
        total = total + np.bincount(
            problem.owners[position], _class_seconds(problem, position, values, exponents[key]), len(problem.seconds)
        )
    return total


def _class_parts(problem: _Problem, position: int, values: Any) -> tuple[float, Any, Any]:
    part = values[problem.layout.columns(problem.keys[position])]
    count = problem.compute[position].shape[1]
    return float(part[0]), problem.compute[position] @ part[1 : 1 + count], problem.memory[position] @ part[1 + count :]


def _class_seconds(problem: _Problem, position: int, values: Any, p: float) -> Any:
    constant, compute, memory = _class_parts(problem, position, values)
    greater, lesser = np.maximum(compute, memory), np.minimum(compute, memory)
    ratio = np.divide(lesser, greater, out=np.zeros_like(greater), where=greater > 0)
    return constant + greater * (1.0 + ratio**p) ** (1.0 / p)


def _solve(problem: _Problem, exponents: Mapping[Key, float], start: Any = None, offset: Any = 0.0, prior: Any = None) -> Any:
    """The weighted problem, solved until the weights of overlap and of outliers settle."""
    values = start
    trust = np.ones(len(problem.seconds))
    rounds = ROUNDS if any(p > 1.0 for p in exponents.values()) else 3
    for _ in range(rounds):
        matrix = np.zeros((len(problem.seconds), problem.layout.width))
        matrix[:, : problem.layout.fixed] = problem.overheads
        for position, key in enumerate(problem.keys):
            near, far = _overlap_weights(problem, position, values, exponents[key])
            part = np.hstack([np.ones((len(near), 1)), problem.compute[position] * near[:, None], problem.memory[position] * far[:, None]])
            np.add.at(matrix[:, problem.layout.columns(key)], problem.owners[position], part)
        values = _bounded(matrix / problem.seconds[:, None], 1.0 - offset / problem.seconds, trust, prior)
        error = np.abs((_predicted(problem, values, exponents) + offset) / problem.seconds - 1.0)
        trust = np.minimum(1.0, HUBER / np.maximum(error, 1e-9))
    return values


def _overlap_weights(problem: _Problem, position: int, values: Any, p: float) -> tuple[Any, Any]:
    count = len(problem.owners[position])
    if p == 1.0:
        return np.ones(count), np.ones(count)
    if values is None:
        return np.full(count, 0.8), np.full(count, 0.8)
    _, compute, memory = _class_parts(problem, position, values)
    greater = np.maximum(np.maximum(compute, memory), 1e-15)
    x = greater * ((compute / greater) ** p + (memory / greater) ** p) ** (1.0 / p)
    x = np.maximum(x, 1e-15)
    return np.maximum((compute / x) ** (p - 1.0), 0.02), np.maximum((memory / x) ** (p - 1.0), 0.02)


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
    ridge, expected = np.sqrt(RIDGE), np.zeros(int(used.sum()))
    if prior is not None:
        ridge, expected = np.sqrt(SHRINK), prior[used] * scale[used]
    stacked = np.vstack([scaled, ridge * np.eye(int(used.sum()))])
    target = np.concatenate([wanted * root, ridge * expected])
    found, _ = nnls(stacked, target, maxiter=50 * stacked.shape[1])
    values = np.zeros(matrix.shape[1])
    values[used] = found / scale[used]
    return values
