"""Cost models: what turns the sizes of kernels into times. The built-in tiers, and the protocol for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from .calibrated import CalibratedTarget, ClassCoefficients
from .compiled import Sized
from .evaluation import Array
from .hardware import Target
from .kernels import KERNELS, Blocks
from .residency import resident_share
from .roofline import Roofs, combine, fetched, kernel_times

GROUP = "edgec.costmodels"  # of entry points
AUTOMATIC = "auto"
UNKNOWN_SPREAD = (0.3, 30.0)  # factors around the roofline of an operator that the model does not know

E_TIER = code(
    "E1016",
    "no such cost model",
    "The tiers are spec (specification sheets), scalar (one measured factor per class of kernels) and microbenchmark (measured "
    "coefficients); the latter two need a file that `edgec calibrate` wrote. Installed packages may add more.",
)


@dataclass(frozen=True)
class Estimate:
    """Times of one run of every kernel.

    Attributes:
        low, expected, high: seconds ``[kernels, n]``; the limits of a 90 % interval around what is expected.
        bound: what takes most of the time: the position in `bounds` ``[kernels, n]``.
        bounds: ``dispatch``, ``compute`` and the names of the memory levels.
        traffic: bytes through every memory level ``[levels, kernels, n]``.
        within: correlation of errors within a class of kernels.
        across: correlation of errors of different classes.
        least: factors of the least interval of a whole model.
    """

    low: Array
    expected: Array
    high: Array
    bound: Any
    bounds: tuple[str, ...]
    traffic: Array
    within: float = 1.0
    across: float = 0.5
    least: tuple[float, float] = (1.0, 1.0)


class CostModel(Protocol):
    """Something that estimates the times of kernels. Entry points of the group ``edgec.costmodels`` name a callable
    ``(target, calibrated or None) -> CostModel``.

    Attributes:
        name: the tier that predictions show.
    """

    @property
    def name(self) -> str:
        """The tier."""
        ...

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """The times of all kernels for all points."""
        ...


Factory = Callable[[Target, CalibratedTarget | None], CostModel]


class SpecModel:
    """The hierarchical roofline from specification sheets."""

    name = "spec"

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """See `roofline.kernel_times`."""
        times = kernel_times(sized, roofs)
        low, expected, high = (
            d + combine(c, m, roofs.overlap) for d, c, m in zip(times.dispatch, times.compute, times.memory, strict=True)
        )
        strange = np.array([not k.known for k in sized.compiled.schedule.kernels], dtype=np.bool_)
        low[strange] = np.minimum(low[strange], expected[strange] * UNKNOWN_SPREAD[0])
        high[strange] = expected[strange] * UNKNOWN_SPREAD[1]
        memory_bound = times.memory[1] > times.compute[1]
        longest = np.maximum(times.memory[1], times.compute[1])
        bound = np.where(times.dispatch[1] >= longest, 0, np.where(memory_bound, times.level + 2, 1))
        return Estimate(low, expected, high, bound, bound_names(roofs), times.traffic)


class ScalarModel:
    """The roofline times one measured factor per class of kernels; the bare roofline where none was measured."""

    name = "scalar"

    def __init__(self, calibrated: CalibratedTarget) -> None:
        self.calibrated = calibrated

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """The roofline with factors."""
        plain = SpecModel().estimate(sized, roofs)
        launch = roofs.engine.dispatch_s.value
        low, expected, high = plain.low.copy(), plain.expected.copy(), plain.high.copy()
        for index, kernel in enumerate(sized.compiled.schedule.kernels):
            found = self.calibrated.scalar(kernel.geometry.kernel, kernel.dtype)
            if found is not None:
                expected[index] = launch + (plain.expected[index] - launch) * found.factor
                low[index], high[index] = expected[index] * found.spread[0], expected[index] * found.spread[1]
        return Estimate(low, expected, high, plain.bound, plain.bounds, plain.traffic, 0.5, 0.25, self.calibrated.graph_spread)


class MicrobenchmarkModel:
    """Measured coefficients of the features of every class; scalars, then the bare roofline, where none were measured."""

    name = "microbenchmark"

    def __init__(self, calibrated: CalibratedTarget) -> None:
        self.calibrated = calibrated

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """Coefficients times features."""
        coarse = ScalarModel(self.calibrated).estimate(sized, roofs)
        low, expected, high, bound = coarse.low.copy(), coarse.expected.copy(), coarse.high.copy(), coarse.bound.copy()
        sources, (reads, constants) = level_sources(coarse.traffic), fetched(sized, roofs)
        operands = np.stack([sources, reads, constants])
        kernels = sized.compiled.schedule.kernels
        for name, group in sized.compiled.groups.items():
            sizes = sized.sizes(name)
            chosen: dict[int, tuple[ClassCoefficients, list[int]]] = {}
            for row, index in enumerate(group.kernels):
                found = self.calibrated.find(name, kernels[index].geometry.variant, kernels[index].dtype)
                if found is not None and kernels[index].known:
                    chosen.setdefault(id(found), (found, []))[1].append(row)
            for coefficients, rows in chosen.values():
                part = {key: value[rows] for key, value in sizes.items()}
                positions = group.kernels[rows]
                time, limit = fitted_time(coefficients, part, operands[:, :, positions], roofs)
                single = self.calibrated.find("gemv", "", coefficients.dtype) if name == "gemm" else None
                if single is not None and np.any(part["m"] == 1):  # one row, of a symbolic size
                    other, other_limit = fitted_time(single, part, operands[:, :, positions], roofs)
                    time, limit = np.where(part["m"] == 1, other, time), np.where(part["m"] == 1, other_limit, limit)
                expected[positions], bound[positions] = time, limit
                low[positions], high[positions] = time * coefficients.spread[0], time * coefficients.spread[1]
        cold = self._cold(sized, roofs)
        expected, low, high = expected + cold, low + cold, high + cold
        within = np.mean([c.shared for c in self.calibrated.coefficients]) if self.calibrated.coefficients else 0.5
        return Estimate(
            low, expected, high, bound, coarse.bounds, coarse.traffic, float(within), self.calibrated.across, self.calibrated.graph_spread
        )

    def _cold(self, sized: Sized, roofs: Roofs) -> Array:
        """Seconds that every launch takes longer than alone, because a run overflows caches ``[n]``."""
        shares = coldness(sized, roofs)
        prices = np.array([self.calibrated.cold.get(level.name, 0.0) for level in roofs.levels[:-1]])
        return prices @ shares


def coldness(sized: Sized, roofs: Roofs) -> Array:
    """How far the operands of one run overflow every level but the last: 0 they fit, 1 nothing survives ``[levels - 1, n]``."""
    reuse = sized.compiled.reuse
    blocks = np.zeros((reuse.blocks + 1, sized.points))
    np.maximum.at(blocks, reuse.block, sized.tensor_bytes)
    footprint = blocks.sum(axis=0)
    found = [
        1.0 - resident_share(footprint, level.retained, 1.0) if level.retained else np.ones_like(footprint) for level in roofs.levels[:-1]
    ]
    return np.array(found).reshape(-1, sized.points)


def fitted_time(entry: ClassCoefficients, sizes: dict[str, Array], operands: Array, roofs: Roofs) -> tuple[Array, Any]:
    """Seconds of the kernels of one class, and what bounds them.

    Args:
        entry: the coefficients.
        sizes: geometry ``[members, n]`` by name.
        operands: bytes from each level ``[3, levels, members, n]``: all, activations that are read, constants.
    """
    matrix = compute_features(entry.kernel, sizes, roofs.blocks(entry.dtype))
    names = KERNELS[entry.kernel].features
    compute = sum((matrix[i] * entry.compute[n] for i, n in enumerate(names) if n in entry.compute), np.zeros(matrix.shape[1:]))
    levels = [level.name for level in roofs.levels]
    prices = np.array([[table.get(name, 0.0) for name in levels] for table in (entry.memory, entry.reads, entry.stalls)])[:, :, None, None]
    parts = operands[0] * prices[0] + operands[1] * prices[1] + operands[2] * prices[2] * stall_of(entry.kernel, sizes)
    memory = parts.sum(axis=0)
    time = entry.constant + combine(compute, memory, entry.overlap)
    longest = np.maximum(compute, memory)
    bound = np.where(entry.constant >= longest, 0, np.where(memory > compute, parts.argmax(axis=0) + 2, 1))
    return time, bound


def compute_features(kernel: str, sizes: dict[str, Array], blocks: Blocks) -> Array:
    """Features of kernels of a class ``[features, members, n]``, in the order of `KernelClass.features`."""
    values = KERNELS[kernel].compute(sizes, blocks)
    shape = next(iter(sizes.values())).shape
    return np.stack([np.broadcast_to(np.asarray(v, dtype=np.float64), shape) for v in values])


def stall_of(kernel: str, sizes: dict[str, Array]) -> Array:
    """The stall of kernels of a class ``[members, n]``; zero for classes that have none."""
    found = KERNELS[kernel].stall
    shape = next(iter(sizes.values())).shape
    return np.zeros(shape) if found is None else np.broadcast_to(np.asarray(found(sizes), dtype=np.float64), shape)


def level_sources(through: Array) -> Array:
    """Bytes that come from each level, re-reads and temporary memory included ``[levels, kernels, n]``.

    Args:
        through: bytes that pass through each level, of `roofline.level_traffic`.
    """
    beyond = np.concatenate([through[1:], np.zeros_like(through[:1])])
    return np.maximum(through - beyond, 0.0)


def bound_names(roofs: Roofs) -> tuple[str, ...]:
    """What can bound a kernel: dispatch, compute, or a memory level."""
    return ("dispatch", "compute", *(level.name for level in roofs.levels))


# -- tiers by name -----------------------------------------------------------------------------------------------------
@cache
def _plugins() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


BUILT_IN: dict[str, Factory] = {}
BUILT_IN["spec"] = lambda target, calibrated: SpecModel()
BUILT_IN["scalar"] = lambda target, calibrated: ScalarModel(_needed(calibrated, "scalar"))
BUILT_IN["microbenchmark"] = lambda target, calibrated: MicrobenchmarkModel(_needed(calibrated, "microbenchmark"))


def register_cost_model(name: str, factory: Factory) -> None:
    """Add a cost model for this process, as a module given with ``--plugin`` does when it is imported.

    Raises:
        Diagnostic: E1016 when there is another one of this name.
    """
    if name == AUTOMATIC or BUILT_IN.get(name, factory) is not factory:
        raise Diagnostic(E_TIER, f"there is already a cost model '{name}'", hint="choose another name")
    BUILT_IN[name] = factory


def tier_names() -> tuple[str, ...]:
    """The names of all cost models: the built-in tiers, then installed ones."""
    return (*BUILT_IN, *_plugins())


def cost_model(tier: str, target: Target, calibrated: CalibratedTarget | None = None) -> CostModel:
    """The cost model of a tier; ``auto`` takes the best that the target has data for.

    Raises:
        Diagnostic: E1016 when there is none of this name, when it needs a calibration, or when an installed one fails to load.
    """
    if tier == AUTOMATIC:
        tier = "spec" if calibrated is None else "microbenchmark" if calibrated.coefficients else "scalar"
    if tier in BUILT_IN:
        return BUILT_IN[tier](target, calibrated)
    point = _plugins().get(tier)
    if point is None:
        raise Diagnostic(E_TIER, f"there is no cost model '{tier}'", hint=did_you_mean(tier, [*tier_names(), AUTOMATIC]))
    try:
        return point.load()(target, calibrated)
    except Diagnostic:
        raise
    except Exception as error:
        raise Diagnostic(E_TIER, f"the cost model '{tier}' of {point.value} does not load: {error}") from error


def _needed(calibrated: CalibratedTarget | None, tier: str) -> CalibratedTarget:
    if calibrated is None:
        hint = "run `edgec calibrate -o host.toml` and give --target host.toml"
        raise Diagnostic(E_TIER, f"the tier '{tier}' needs a calibrated target", hint=hint)
    return calibrated
