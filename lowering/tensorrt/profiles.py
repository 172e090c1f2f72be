"""Optimisation profiles from a trace of real shapes: k ranges that minimise the expected latency.

The latency model. TensorRT chooses kernels for the optimal shape o of a profile; a request of shape s within it runs with them::

    latency(s | o) = cost(s) · (1 + γ · Σ_d |log2(s_d / o_d)|)

over the symbolic dimensions d, with γ = `MISMATCH` relative loss for each factor of two. A request runs in the best of the profiles
whose range holds it. γ is an assumption, not a measurement; ``cost`` is any function from sizes to seconds.

With one dimension the best profiles are runs of neighbouring sizes, each with a weighted median as its optimum, and dynamic programming
finds the least sum exactly. With several dimensions optima are chosen among the shapes of the trace by greedy addition and exchange.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...costmodel.memory import type_bytes
from ...costmodel.work import graph_work
from ...ir.diagnostics import Diagnostic
from ...ir.dims import Dim, Expr, substitute
from ...ir.graph import Value
from ...ir.model import Model
from .codes import E_TRACE

MISMATCH = 0.15
MACS_PER_SECOND, BYTES_PER_SECOND, LAUNCH_SECONDS = 5e12, 2e11, 5e-6
"""A middling GPU, for the proxy of the cost: arithmetic, memory traffic, and the start of each kernel."""
MOST_SIZES = 1024
Sizes = tuple[int, ...]
Cost = Callable[[Mapping[str, int]], float]


@dataclass(frozen=True)
class ShapeProfile:
    """One proposed profile.

    Attributes:
        ranges: least, optimal and greatest size by symbolic dimension.
        requests: how many requests of the trace run in it.
        seconds: their expected latency by the model.
    """

    ranges: Mapping[str, tuple[int, int, int]]
    requests: int
    seconds: float


@dataclass(frozen=True)
class Proposal:
    """Profiles for a trace.

    Attributes:
        profiles: by ascending optimal sizes.
        seconds: expected latency of a request by the model.
        single: the same with one profile.
        ideal: the same if every shape had a profile of its own.
    """

    profiles: tuple[ShapeProfile, ...]
    seconds: float
    single: float
    ideal: float


def propose(trace: Iterable[Mapping[str, int]], count: int, cost: Cost, *, mismatch: float = MISMATCH) -> Proposal:
    """The profiles for a trace.

    Args:
        trace: the sizes of the symbolic dimensions, request by request; all name the same dimensions.
        count: the greatest number of profiles.
        cost: seconds that a request of some sizes takes in kernels made for it.
        mismatch: γ.

    Raises:
        Diagnostic: E0561 for an empty trace, or one with different dimensions.
    """
    requests = [dict(item) for item in trace]
    if not requests or not requests[0]:
        raise Diagnostic(
            E_TRACE, "the trace is empty" if not requests else "the model has no symbolic dimensions", hint="nothing to choose"
        )
    names = tuple(requests[0])
    if any(set(item) != set(names) for item in requests):
        raise Diagnostic(E_TRACE, "the requests of the trace name different dimensions", notes=[", ".join(names)])
    counted = Counter(tuple(item[name] for name in names) for item in requests)
    points = sorted(counted)
    if len(points) > MOST_SIZES:
        raise Diagnostic(E_TRACE, f"the trace has {len(points)} different shapes, more than {MOST_SIZES}", hint="round the sizes up")
    weights = np.array([counted[p] for p in points], float)
    costs = np.array([cost(dict(zip(names, p, strict=True))) for p in points], float)
    places = np.log2(np.maximum(np.array(points, float), 1.0))
    problem = _Problem(points, weights, costs, places, mismatch)
    groups = problem.in_line(count) if len(names) == 1 else problem.by_exchange(count)
    return _proposal(problem, names, groups)


class _Problem:
    """Distinct shapes with their weights, costs and positions on a logarithmic scale."""

    def __init__(self, points: list[Sizes], weights: Any, costs: Any, places: Any, mismatch: float) -> None:
        self.points, self.weights, self.costs, self.places, self.mismatch = points, weights, costs, places, mismatch
        self.burden = weights * costs

    def distances(self, optimum: int) -> Any:
        """The distance of every shape from an optimum: the sum of the logarithms of the ratios of sizes."""
        return np.abs(self.places - self.places[optimum]).sum(axis=1)

    def excess(self, members: Sequence[int], optimum: int) -> float:
        """What a group loses, in seconds times requests, by not running at its own optimum."""
        chosen = list(members)
        return float(self.mismatch * (self.burden[chosen] * self.distances(optimum)[chosen]).sum())

    def in_line(self, count: int) -> list[tuple[list[int], int]]:
        """Groups and optima for one dimension, exactly: sums over neighbours by prefix sums, the best cuts by dynamic programming."""
        size = len(self.points)
        place = self.places[:, 0]
        total = np.concatenate([[0.0], np.cumsum(self.burden)])
        moment = np.concatenate([[0.0], np.cumsum(self.burden * place)])
        loss = np.full((size + 1, size + 1), np.inf)
        median = np.zeros((size + 1, size + 1), int)
        for first in range(size):
            middle = first
            for end in range(first + 1, size + 1):
                half = (total[first] + total[end]) / 2
                while middle < end - 1 and total[middle + 1] < half:
                    middle += 1
                below = place[middle] * (total[middle] - total[first]) - (moment[middle] - moment[first])
                above = (moment[end] - moment[middle]) - place[middle] * (total[end] - total[middle])
                loss[first, end], median[first, end] = below + above, middle
        best = np.full((min(count, size) + 1, size + 1), np.inf)
        cut = np.zeros(best.shape, int)
        best[0, 0] = 0.0
        for groups in range(1, len(best)):
            for end in range(1, size + 1):
                sums = best[groups - 1, :end] + loss[:end, end]
                cut[groups, end] = int(np.argmin(sums))
                best[groups, end] = sums[cut[groups, end]]
        groups = int(np.argmin(best[1:, size])) + 1
        found, end = [], size
        while groups:
            first = int(cut[groups, end])
            found.append((list(range(first, end)), int(median[first, end])))
            groups, end = groups - 1, first
        return found[::-1]

    def by_exchange(self, count: int) -> list[tuple[list[int], int]]:
        """Groups and optima for several dimensions: optima are added greedily, then exchanged while that helps."""
        size = len(self.points)
        apart = np.stack([self.distances(i) for i in range(size)])
        chosen: list[int] = []
        nearest = np.full(size, np.inf)
        for _ in range(min(count, size)):
            gains = (self.burden * np.minimum(apart, nearest)).sum(axis=1)
            addition = int(np.argmin(gains))
            if chosen and gains[addition] >= float((self.burden * nearest).sum()):
                break
            chosen.append(addition)
            nearest = np.minimum(nearest, apart[addition])
        improved = True
        while improved:
            improved = False
            present = float((self.burden * apart[chosen].min(axis=0)).sum())
            for position in range(len(chosen)):
                others = [c for i, c in enumerate(chosen) if i != position]
                rest = apart[others].min(axis=0) if others else np.full(size, np.inf)
                sums = (self.burden * np.minimum(apart, rest)).sum(axis=1)
                candidate = int(np.argmin(sums))
                if float(sums[candidate]) < present * (1 - 1e-12):
                    chosen[position], present, improved = candidate, float(sums[candidate]), True
        owner = np.argmin(apart[chosen], axis=0)
        groups = [([int(i) for i in np.flatnonzero(owner == number)], optimum) for number, optimum in enumerate(chosen)]
        return sorted(((members, optimum) for members, optimum in groups if members), key=lambda item: self.points[item[1]])


def _proposal(problem: _Problem, names: Sequence[str], groups: Sequence[tuple[list[int], int]]) -> Proposal:
    points, burden, weights = problem.points, problem.burden, problem.weights
    boxes = []
    for members, optimum in groups:
        corners = np.array([points[i] for i in members])
        boxes.append((corners.min(axis=0), corners.max(axis=0), optimum))
    everything = np.array(points)
    latencies = np.full((len(boxes), len(points)), np.inf)
    for number, (low, high, optimum) in enumerate(boxes):
        inside = ((everything >= low) & (everything <= high)).all(axis=1)
        latencies[number, inside] = (problem.costs * (1 + problem.mismatch * problem.distances(optimum)))[inside]
    runs_in = np.argmin(latencies, axis=0)
    profiles = []
    for number, (low, high, optimum) in enumerate(boxes):
        mine = runs_in == number
        requests = int(weights[mine].sum())
        seconds = float((weights[mine] * latencies[number, mine]).sum() / requests) if requests else 0.0
        ranges = {name: (int(low[d]), points[optimum][d], int(high[d])) for d, name in enumerate(names)}
        profiles.append(ShapeProfile(ranges, requests, seconds))
    requests = float(weights.sum())
    ideal = float(burden.sum()) / requests
    everyone = list(range(len(points)))
    single = ideal + min(problem.excess(everyone, optimum) for optimum in everyone) / requests
    seconds = float((weights * latencies.min(axis=0)).sum()) / requests
    return Proposal(tuple(profiles), seconds, single, ideal)


def bindings(inputs: Sequence[Value], shapes: Mapping[str, Sequence[int]], where: str = "") -> dict[str, int]:
    """The sizes of the symbolic dimensions that the shapes of one request imply.

    Args:
        inputs: the model's inputs.
        shapes: the shape of every input by name; or sizes by the name of the dimension, as lists of one.
        where: what diagnostics name, such as the line of the trace.

    Raises:
        Diagnostic: E0561 for shapes that contradict the model or each other, and for dimensions that remain unknown.
    """
    found: dict[str, int] = {}
    wanted: dict[str, None] = {}
    for value in inputs:
        for dim in value.shape or ():
            wanted.update(dict.fromkeys(dim.symbols() if isinstance(dim, Expr) else ()))
    for value in inputs:
        given = shapes.get(value.name)
        if given is None or value.shape is None:
            continue
        if len(given) != len(value.shape):
            raise Diagnostic(E_TRACE, f"input '{value.name}' has {len(value.shape)} dimensions, the trace gives {len(given)}", where)
        for dim, size in zip(value.shape, given, strict=True):
            name = dim.symbol_name if isinstance(dim, Expr) else None
            if name is not None and found.setdefault(name, int(size)) != size:
                raise Diagnostic(E_TRACE, f"the dimension '{name}' is {found[name]} and {size} at once", where)
            if isinstance(dim, int) and dim != size:
                raise Diagnostic(E_TRACE, f"a dimension of input '{value.name}' is {dim}, the trace gives {size}", where)
    names = {value.name for value in inputs}
    for name, given in shapes.items():
        if name in wanted and name not in names and len(given) == 1:
            found.setdefault(name, int(given[0]))
        elif name not in names and name not in wanted:
            raise Diagnostic(E_TRACE, f"'{name}' is neither an input nor a symbolic dimension of the model", where)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise Diagnostic(E_TRACE, f"nothing is said of the dimension '{missing[0]}'", where, "give the shape of every input")
    return {name: found[name] for name in wanted}


def work_cost(model: Model) -> Cost:
    """A proxy for the latency: the greater of arithmetic and memory traffic at the rates of a middling GPU, and a start per node.

    Sizes that depend on data are taken as 1.
    """
    nodes = list(model.graph.walk())
    macs = graph_work(model.graph).macs
    traffic: Dim = 0
    for node in nodes:
        for value in (*node.inputs, *node.outputs):
            size = None if value is None else type_bytes(value.type)
            traffic = traffic + (size if size is not None else 0)

    def cost(sizes: Mapping[str, int]) -> float:
        arithmetic, moved = _number(macs, sizes) / MACS_PER_SECOND, _number(traffic, sizes) / BYTES_PER_SECOND
        return max(arithmetic, moved) + LAUNCH_SECONDS * len(nodes)

    return cost


def _number(dim: Dim, sizes: Mapping[str, int]) -> float:
    if not isinstance(dim, Expr):
        return float(dim)
    known = {name: sizes.get(name, 1) for name in dim.symbols()}
    found = substitute(dim, dict(known))
    return float(found) if isinstance(found, int) else math.nan
