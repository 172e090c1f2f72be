"""Elasticities: by how many per cent the time grows when the batch, the core clock or the memory clock grows by one per cent.

A growing batch alone does not tell compute-bound from activation-bandwidth-bound kernels (both grow in proportion), while kernels bound by
reading weights stay flat; the two clocks tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..evaluation import Array
from ..predict import Predictor
from ..roofline import Setting, roofs_of

STEP = 1.1  # factor up and down of the clocks
FEELS, IGNORES = 0.5, 0.2  # thresholds of the classification


@dataclass(frozen=True)
class Elasticity:
    """Elasticities of a time: d ln T / d ln x.

    Attributes:
        core: in the core clock.
        memory: in the clock of the last memory level.
        batch: in the batch; None when it was not varied.
    """

    core: float
    memory: float
    batch: float | None = None

    @property
    def bound(self) -> str:
        """What the elasticities say: see `classify`."""
        return classify(self.core, self.memory, self.batch)


def classify(core: float, memory: float, batch: float | None = None) -> str:
    """What bounds something whose elasticities are known, measured or predicted.

    ``compute`` follows the core clock (arithmetic or on-chip memory, which share that clock); ``memory`` follows the memory clock:
    ``weights`` when the batch costs nothing, ``activations`` when it costs in proportion; ``overhead`` follows neither; else ``mixed``.

    >>> classify(-0.95, -0.02, 1.0), classify(0.0, -0.97, 0.05), classify(0.0, -0.97, 0.9), classify(-0.05, -0.05, 0.0)
    ('compute', 'weights', 'activations', 'overhead')
    >>> classify(-0.45, -0.45, 0.5)
    'mixed'
    """
    if core <= -FEELS and core < memory:
        return "compute"
    if memory <= -FEELS:
        return "memory" if batch is None else "activations" if batch >= FEELS else "weights"
    if core > -IGNORES and memory > -IGNORES:
        return "overhead"
    return "mixed"


@dataclass(frozen=True)
class Elasticities:
    """Elasticities of a model and of its nodes.

    Attributes:
        whole: of the time of an inference.
        nodes: of every node, by name.
        exact: whether the cost model follows the clocks; measured coefficients hold for one clock only, and the roofline of the same
            engine stands in for them.
    """

    whole: Elasticity
    nodes: Mapping[str, Elasticity]
    exact: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"whole": _plain(self.whole), "nodes": {n: _plain(e) for n, e in self.nodes.items()}, "follows_clocks": self.exact}


def _plain(e: Elasticity) -> dict[str, Any]:
    return {"core": e.core, "memory": e.memory, "batch": e.batch, "bound": e.bound}


def elasticities(predictor: Predictor, bindings: Mapping[str, int] | None = None, batch: str | None = None) -> Elasticities:
    """Elasticities at one point, by changing one thing at a time.

    Args:
        predictor: a model on an engine.
        bindings: values of the symbols.
        batch: the symbol of the batch; it is doubled.
    """
    from ..model import SpecModel

    given = dict(bindings or {})
    cost = predictor.cost
    exact = cost.name not in ("scalar", "microbenchmark")
    if not exact:
        cost = SpecModel()

    def times(setting: Setting, values: Mapping[str, int]) -> tuple[Array, float]:
        roofs = roofs_of(predictor.roofs.engine, setting)
        sized = predictor.compiled.at(values)
        per_kernel = (cost.estimate(sized, roofs).expected * sized.count)[:, 0]
        return per_kernel, float(per_kernel.sum()) + roofs.engine.run_s.value

    base = predictor.roofs.setting
    core = [times(replace(base, core=base.core * f), given) for f in (1 / STEP, STEP)]
    memory = [times(replace(base, memory=base.memory * f), given) for f in (1 / STEP, STEP)]
    step = 2 * math.log(STEP)
    by_core, by_memory = _slope(core[0][0], core[1][0], step), _slope(memory[0][0], memory[1][0], step)
    by_batch: list[float | None] = [None] * len(by_core)
    whole_batch: float | None = None
    if batch is not None:
        grown = times(base, {**given, batch: 2 * given[batch]})
        before = times(base, given)
        by_batch = list(_slope(before[0], grown[0], math.log(2)))
        whole_batch = math.log(grown[1] / before[1]) / math.log(2)
    names = [kernel.name for kernel in predictor.compiled.schedule.kernels]
    slopes = zip(names, by_core, by_memory, by_batch, strict=True)
    nodes = {n: Elasticity(float(c), float(m), None if b is None else float(b)) for n, c, m, b in slopes}
    whole = Elasticity(math.log(core[1][1] / core[0][1]) / step, math.log(memory[1][1] / memory[0][1]) / step, whole_batch)
    return Elasticities(whole, nodes, exact)


def _slope(before: Array, after: Array, step: float) -> Array:
    alive = (before > 0) & (after > 0)
    ratio = np.divide(after, before, out=np.ones_like(after), where=alive)
    return np.log(ratio) / step
