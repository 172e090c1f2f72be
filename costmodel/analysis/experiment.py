"""What bounds work, from experiments: the batch doubled, the core clock scaled, the memory clock scaled or the memory kept busy by others.

A machine seldom lets its memory clock be set. Background traffic that slows a pure stream down slows other work down as far as it waits
for memory: T = Tc + Tm becomes Tc + s Tm when the traffic makes a stream s times as long, so that (T'/T - 1) / (s - 1) = Tm / T, which is
-d ln T / d ln f of the memory clock f for that sum. Where arithmetic and memory overlap it lies between 0 and 1 as well. The same form with
a lower core clock gives the share of the core. What a runtime needs to launch kernels is measured on a graph of kernels that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.dims import substitute
from ..predict import Predictor
from ..roofline import Setting, kernel_times
from .elasticity import Elasticity, elasticities

LEAST_SLOWDOWN = 1.1  # of the reference that must slow down, below which an experiment says nothing
UNDECIDED = "not decided"


@dataclass(frozen=True)
class Slowdown:
    """Seconds with a disturbance over seconds without it.

    Attributes:
        work: of what is examined.
        follower: of a reference that follows the disturbed thing in proportion: a stream of memory, or arithmetic in registers.
        bystander: of a reference that does not use the disturbed thing; it takes out what disturbs everything alike.
    """

    work: float
    follower: float
    bystander: float = 1.0

    @property
    def tells(self) -> bool:
        """Whether the disturbance is great enough to say something."""
        return self.follower / self.bystander >= LEAST_SLOWDOWN

    @property
    def share(self) -> float | None:
        """The share of the time that grows as the follower's does, from 0 to 1; None when the disturbance is too small.

        >>> Slowdown(1.25, 1.5).share, Slowdown(2.0, 2.0, 1.0).share, Slowdown(1.0, 1.05).share
        (0.5, 1.0, None)
        """
        if not self.tells:
            return None
        return min(max((self.work / self.bystander - 1.0) / (self.follower / self.bystander - 1.0), 0.0), 1.0)


def measured_elasticity(memory: float | None, core: float | None, overhead: float, batch: float | None = None) -> Elasticity | None:
    """Elasticities from shares of the time; the one that was not measured is what the other leaves.

    Args:
        memory: the share that waits for memory; None when it was not measured.
        core: the share that follows the core clock, launches included: the core carries them out; None when it was not measured.
        overhead: the share of launches.
        batch: d ln T / d ln batch.

    >>> measured_elasticity(0.1, None, 0.05, 1.0).bound, measured_elasticity(0.0, None, 0.9, 0.0).bound
    ('compute', 'overhead')
    >>> measured_elasticity(None, 0.1, 0.0, 1.0).bound, measured_elasticity(0.9, 0.1, 0.0, 0.1).bound
    ('activations', 'weights')
    """
    if memory is None and core is None:
        return None
    if memory is None:
        memory = 1.0 - (core or 0.0)
    if core is None:
        core = 1.0 - memory
    return Elasticity(-max(core - min(overhead, 1.0), 0.0), -memory, batch)


# -- the same experiment on the cost model -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Simulated:
    """The outcome of an experiment on the cost model.

    Attributes:
        truth: what the roofline is bound by at this point.
        truth_share: the share of the time that this takes.
        clocks: elasticities in clocks that are scaled.
        pressure: elasticities from a memory that is slowed down, as they are measured on a host.
    """

    truth: str
    truth_share: float
    clocks: Elasticity
    pressure: Elasticity


SLOWER = 1.5  # factor by which the simulated pressure slows the memory down


def simulate(predictor: Predictor, bindings: Mapping[str, int], batch: str | None, launch: Callable[[int], float]) -> Simulated:
    """Examine a model on an engine as if it were a machine that only gives times.

    Args:
        predictor: of the tier ``spec``, which follows the clocks.
        bindings: values of the symbols.
        batch: the symbol that is doubled.
        launch: seconds of a graph of so many kernels that do nothing.
    """
    clocks = elasticities(predictor, bindings, batch).whole
    calm, pressed = (seconds_at(predictor, bindings, Setting(memory=memory)) for memory in (1.0, 1.0 / SLOWER))
    launches = sum(1 for kernel in predictor.compiled.schedule.kernels if kernel.geometry.kernel != "view")
    share = Slowdown(pressed / calm, SLOWER).share
    pressure = measured_elasticity(share, None, launch(launches) / calm, clocks.batch)
    assert pressure is not None
    return Simulated(*true_bound(predictor, bindings), clocks, pressure)


def seconds_at(predictor: Predictor, bindings: Mapping[str, int], setting: Setting) -> float:
    """Expected seconds with other clocks: factors on those of the predictor's setting."""
    given = predictor.roofs.setting
    scaled = Setting(given.units, given.core * setting.core, given.memory * setting.memory, given.overlap)
    other = Predictor(predictor.compiled, predictor.target, engine=predictor.roofs.engine.name, tier=predictor.cost, setting=scaled)
    return other.predict(bindings).seconds[1]


def true_bound(predictor: Predictor, bindings: Mapping[str, int]) -> tuple[str, float]:
    """What takes most of the time by the roofline's own parts, and its share of the time; ``mixed`` when nothing takes half.

    Of every kernel the launch counts, and the greater one of arithmetic and memory. Memory levels but the last share the core's clock and
    count as compute. Bytes of the last one are divided by what they hold.
    """
    sized = predictor.compiled.at(bindings)
    times = kernel_times(sized, predictor.roofs)
    count = sized.count[:, 0]
    launches, arithmetic, memory = (part[1][:, 0] * count for part in (times.dispatch, times.compute, times.memory))
    streams = (memory > arithmetic) & (np.asarray(times.level)[:, 0] == len(predictor.roofs.levels) - 1)
    inside = np.maximum(arithmetic, memory)
    parts = {
        "overhead": float(launches.sum()) + predictor.roofs.engine.run_s.value,
        "compute": float(inside[~streams].sum()),
        "memory": float(inside[streams].sum()),
    }
    name = max(parts, key=parts.__getitem__)
    share = parts[name] / predictor.predict(bindings).seconds[1]
    if share < 0.5:
        return "mixed", share
    return (name if name != "memory" else _streamed(predictor, bindings, np.flatnonzero(streams).tolist())), share


def _streamed(predictor: Predictor, bindings: Mapping[str, int], kernels: Sequence[int]) -> str:
    """Whether kernels touch more bytes of weights or of activations."""
    schedule = predictor.compiled.schedule
    touched = {"weights": 0.0, "activations": 0.0}
    for access in (access for index in kernels for access in schedule.kernels[index].accesses):
        size = substitute(access.bytes, dict(bindings)) if not isinstance(access.bytes, int) else access.bytes
        kind = "weights" if schedule.tensors[access.tensor].role == "weight" else "activations"
        touched[kind] += float(size) if isinstance(size, int) else 0.0
    return max(touched, key=touched.__getitem__)
