"""From measured graphs to a calibrated target: fit, cross-validation, intervals, factors for the coarse tier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..calibrated import CalibratedTarget, ClassCoefficients, ClassScalar
from ..compiled import CompiledSchedule, Sized
from ..features import FeatureRow, feature_rows
from ..hardware import Target
from ..kernels import CONTRACTIONS, KERNELS
from ..model import SpecModel, coldness
from ..roofline import Roofs, roofs_of
from .fitting import Fit, Key, Observation, fit

FOLDS = 5
FEW_PRODUCTS = 20
COUNTABLE = 5e-6  # seconds of a kernel from which counters in whole microseconds say something
TELLING = 0.03  # share of a graph's time from which a part of it does
DOMINANT = 0.6  # share of a graph's time from which its residual says something of a class
NINETY = 1.6449  # standard deviations that enclose 90 % of a normal distribution on both sides
ALIKE = ("i64", "i32", "bool", "u8", "i8", "f64")  # element types that take the coefficients of f32 where none were measured
SHARED_CLASSES = ("elementwise", "movement", "view", "control", "reduction", "softmax")
NETWORK = "network"  # the focus of synthetic networks, whose errors in cross-validation set the intervals of whole models


@dataclass(frozen=True)
class ClassReport:
    """How well a class is known.

    Attributes:
        focus: what the graphs were about.
        graphs: how many.
        error: mean relative error in cross-validation.
        median: its median.
    """

    focus: str
    graphs: int
    error: float
    median: float


@dataclass(frozen=True)
class Calibration:
    """The outcome.

    Attributes:
        calibrated: the target with its coefficients.
        fit: the coefficients as fitted.
        reports: errors in cross-validation by focus.
        networks: predicted over measured time of the synthetic networks, by fits that did not see them.
    """

    calibrated: CalibratedTarget
    fit: Fit
    reports: tuple[ClassReport, ...]
    networks: tuple[float, ...]


def observe(
    sized: Sized, roofs: Roofs, seconds: float, ends: int, focus: str, name: str = "", parts: Mapping[str, float] | None = None
) -> Observation:
    """An observation of a graph whose sizes are known.

    Args:
        sized: the sizes.
        roofs: the machine.
        seconds: of one inference.
        ends: bound inputs and outputs.
        focus: what the graph is about.
        name: for reports.
        parts: seconds of kernels by name, where the runtime counts them.
    """
    cold = tuple(float(share) for share in coldness(sized, roofs)[:, 0])
    rows = tuple(feature_rows(sized, roofs))
    return Observation(seconds, rows, ends, focus, name, cold, _parts(rows, seconds, focus, cold, parts or {}))


def _parts(
    rows: Sequence[FeatureRow], seconds: float, focus: str, cold: tuple[float, ...], counted: Mapping[str, float]
) -> tuple[Observation, ...]:
    """What the kernels of every class and variant took together, as far as counters are precise enough for that.

    Counters see slower runs than the fastest: what they add up to beyond the graph's time is scaled down.
    """
    scale = min(1.0, seconds / max(sum(counted.values()), 1e-12))
    groups: dict[Key, list[FeatureRow]] = {}
    for row in rows:
        groups.setdefault((row.kernel, row.variant, row.dtype), []).append(row)
    found: list[Observation] = []
    for members in groups.values() if len(groups) > 1 else ():
        times = [counted.get(row.name, 0.0) * scale for row in members]
        if min(times) >= COUNTABLE and sum(times) >= TELLING * seconds:
            found.append(Observation(sum(times), tuple(members), 0, focus, "", cold, whole=False))
    return tuple(found)


def product_error(observations: Sequence[Observation], target: Target) -> float:
    """Mean error of a fit of matrix products alone, gross ones counted as a half: to choose between descriptions of a machine's caches.

    Products show caches best: their operands are read once, and most bytes are constants that lie there from run to run.
    """
    chosen = [o for o in observations if o.focus in ("gemm", "gemv", "overhead")]
    if len(chosen) < FEW_PRODUCTS:
        return 0.0
    fitted = fit(chosen, _rates(roofs_of(target.engines[0])), sweeps=2)
    return float(np.mean([min(abs(math.log(fitted.seconds(o) / o.seconds)), 0.5) for o in chosen if o.focus != "overhead"]))


def calibrate(
    observations: Sequence[Observation],
    sized: Sequence[Sized],
    target: Target,
    backend: str,
    threads: int,
    facts: Mapping[str, str] | None = None,
) -> Calibration:
    """Coefficients, intervals and error figures.

    Args:
        observations: measured graphs.
        sized: their sizes, in the same order.
        target: the machine; its overheads are replaced by fitted ones.
        backend: which runtime was measured.
        threads: with how many threads.
        facts: for people.
    """
    engine = target.engines[0]
    roofs = roofs_of(engine)
    levels = _rates(roofs)
    fitted = fit(observations, levels)
    every = _cross_validated(observations, levels, fitted)
    alone = np.array([o.focus != NETWORK for o in observations])
    single, ratios = [o for o in observations if o.focus != NETWORK], every[alone]
    spreads = _spreads(single, ratios, fitted)
    networks = tuple(float(1.0 / ratio) for ratio in every[~alone])
    entries = _replicated([_entry(key, fitted, spreads, single, ratios) for key in fitted.layout.keys])
    overhead = float(fitted.values[0] + 2 * fitted.values[1])
    launch = min((e.constant for e in entries if e.kernel in ("elementwise", "view") and e.constant > 0), default=1e-7)
    engine = replace(
        engine,
        run_s=replace(engine.run_s, value=overhead, low=overhead * 0.7, high=overhead * 1.5),
        dispatch_s=replace(engine.dispatch_s, value=launch, low=launch * 0.5, high=launch * 3),
        peak=_peaks(engine.peak, single, sized),
    )
    target = replace(target, engines=(engine,))
    calibrated = CalibratedTarget(
        target,
        backend,
        threads,
        tuple(entries),
        tuple(_scalars(single, [s for o, s in zip(observations, sized, strict=True) if o.focus != NETWORK], fitted, roofs_of(engine))),
        0.1,
        _graph_spread(networks),
        dict(facts or {}),
        {name: float(v) for name, v in zip(levels, fitted.values[2 : fitted.layout.fixed], strict=False) if v > 0},
    )
    return Calibration(calibrated, fitted, tuple(_reports(single, ratios)), networks)


def _rates(roofs: Roofs) -> dict[str, float]:
    """Seconds per byte of every memory level."""
    return {level.name: 1.0 / level.bandwidth.value for level in roofs.levels}


def _cross_validated(observations: Sequence[Observation], levels: Mapping[str, float], fitted: Fit) -> np.ndarray:
    """Measured over predicted time of every graph by a fit that did not see it."""
    folds = np.random.default_rng(7).permutation(len(observations)) % FOLDS
    found = np.ones(len(observations))
    for number in range(FOLDS):
        others = [o for o, f in zip(observations, folds, strict=True) if f != number]
        partial = fit(others, levels, fitted.layout, 2)
        for index in np.flatnonzero(folds == number).tolist():
            found[index] = observations[index].seconds / max(partial.seconds(observations[index]), 1e-9)
    return found


def _spreads(observations: Sequence[Observation], ratios: np.ndarray, fitted: Fit) -> dict[Key | str, tuple[float, float, int, float]]:
    """Limits of 90 % of the residuals, number of graphs and mean error: by key, by kernel class, and for all (the empty text)."""
    collected: dict[Key | str, list[float]] = {}
    for observation, ratio in zip(observations, ratios, strict=True):
        for key, share in fitted.share(observation).items():
            if share >= DOMINANT:
                for name in (key, key[0], ""):
                    collected.setdefault(name, []).append(float(ratio))
    return {name: (*_limits(values), len(values), float(np.mean(np.abs(1 / np.array(values) - 1)))) for name, values in collected.items()}


def _limits(ratios: Sequence[float]) -> tuple[float, float]:
    """Factors that enclose 90 % of the ratios; wider when there are few."""
    logs = np.log(np.clip(ratios, 0.1, 10.0))
    few = 1.0 + 2.0 / max(len(logs), 1)
    low, high = np.quantile(logs, 0.05) * few, np.quantile(logs, 0.95) * few
    return float(min(max(math.exp(low), 0.2), 0.97)), float(max(min(math.exp(high), 5.0), 1.03))


def _entry(
    key: Key,
    fitted: Fit,
    spreads: Mapping[Key | str, tuple[float, float, int, float]],
    observations: Sequence[Observation],
    ratios: np.ndarray,
) -> ClassCoefficients:
    kernel, variant, dtype = key
    values = fitted.values[fitted.layout.columns(key)]
    names = KERNELS[kernel].features
    compute = {name: float(v) for name, v in zip(names, values[1 : 1 + len(names)], strict=True) if v > 0}
    levels = fitted.layout.levels
    ends = np.cumsum([1 + len(names), len(levels), len(levels) - 1])
    memory = _prices(levels, values[ends[0] : ends[1]])
    reads = _prices(levels[1:], values[ends[1] : ends[2]])
    stalls = _prices(levels[1:], values[ends[2] :]) if len(values) > ends[2] else {}
    known = next((spreads[name] for name in (key, kernel, "") if name in spreads and spreads[name][2] >= 4), (0.6, 1.7, 0, 0.3))
    count = sum(any(fitted.layout.find(row) == key for row in o.rows) for o in observations)
    exponent = fitted.exponents.get(key, 1.0)
    constant = max(float(values[0]), _floor(fitted))
    return ClassCoefficients(kernel, dtype, variant, constant, compute, memory, exponent, known[:2], 0.3, count, known[3], reads, stalls)


def _prices(levels: Sequence[str], increments: np.ndarray) -> dict[str, float]:
    """Seconds per byte from every level, from the increments of one over the nearer one."""
    return {level: float(v) for level, v in zip(levels, np.cumsum(increments), strict=True) if v > 0}


def _floor(fitted: Fit) -> float:
    """What every launch costs at least: a view's, which does nothing else; a tenth of a microsecond where none was measured."""
    key = ("view", "", "f32")
    found = float(fitted.values[fitted.layout.columns(key)][0]) if key in fitted.layout.keys else 0.0
    return max(0.5 * found, 1e-7)


def _replicated(entries: list[ClassCoefficients]) -> list[ClassCoefficients]:
    """For element types that were not measured, the coefficients of float32: what such kernels cost is a matter of bytes and launches."""
    have = {(e.kernel, e.variant, e.dtype) for e in entries}
    found = list(entries)
    for entry in entries:
        if entry.kernel in SHARED_CLASSES and entry.dtype == "f32":
            for dtype in ALIKE:
                if (entry.kernel, entry.variant, dtype) not in have and (entry.kernel, "", dtype) not in have:
                    found.append(replace(entry, dtype=dtype, samples=0))
    return found


def _peaks(given: Mapping[str, object], observations: Sequence[Observation], sized: Sequence[Sized]) -> dict:
    """The greatest rate of arithmetic that any graph attained, by the type in which it multiplies."""
    from ..hardware import Quantity

    best: dict[str, float] = {}
    for observation, sizes in zip(observations, sized, strict=False):
        kernels = sizes.compiled.schedule.kernels
        heavy = [k.dtype for k in kernels if k.geometry.kernel in CONTRACTIONS]
        if heavy:
            rate = float((2 * sizes.macs * sizes.count).sum()) / observation.seconds
            best[heavy[0]] = max(best.get(heavy[0], 0.0), rate)
    source = "the fastest graph that calibration measured"
    found = {d: Quantity(rate, "ops/s", "measured", source, rate, rate * 1.25) for d, rate in sorted(best.items()) if rate > 0}
    return found or dict(given)


def _scalars(observations: Sequence[Observation], sized: Sequence[Sized], fitted: Fit, roofs: Roofs) -> list[ClassScalar]:
    """Factors on the roofline by class and element type: medians over the kernels of graphs of the class."""
    ratios: dict[tuple[str, str], list[float]] = {}
    launch = roofs.engine.dispatch_s.value
    for observation, sizes in zip(observations, sized, strict=True):
        plain = SpecModel().estimate(sizes, roofs).expected[:, 0]
        share = fitted.share(observation)
        for row, expected in zip(observation.rows, plain, strict=True):
            key = fitted.layout.find(row)
            if key is not None and share.get(key, 0.0) >= DOMINANT and expected > launch:
                scale = observation.seconds / max(fitted.seconds(observation), 1e-9)
                ratio = max(fitted.kernel_seconds(row) * scale - launch, 1e-9) / (expected - launch)
                ratios.setdefault((row.kernel, row.dtype), []).append(ratio)
    found = []
    for (kernel, dtype), values in sorted(ratios.items()):
        middle = float(np.median(values))
        low, high = _limits([v / middle for v in values])
        found.append(ClassScalar(kernel, dtype, middle, (low, high), len(values)))
    return found


def _graph_spread(networks: Sequence[float]) -> tuple[float, float]:
    """Limits of whole models from synthetic networks that were not fitted; ten per cent where there are none."""
    if len(networks) < 4:
        return 0.9, 1.1
    logs = np.log(1.0 / np.array(networks))
    wide = NINETY * math.sqrt(float(np.mean(logs**2)))
    return float(max(math.exp(-wide), 0.5)), float(min(math.exp(wide), 2.0))


def _reports(observations: Sequence[Observation], ratios: np.ndarray) -> list[ClassReport]:
    found = []
    for focus in sorted({o.focus for o in observations}):
        errors = np.abs(1.0 / ratios[[i for i, o in enumerate(observations) if o.focus == focus]] - 1.0)
        found.append(ClassReport(focus, len(errors), float(errors.mean()), float(np.median(errors))))
    return found


def sized_of(schedule: object, bindings: Mapping[str, int]) -> Sized:
    """The sizes of a schedule for some values of its symbols."""
    return CompiledSchedule(schedule).at(dict(bindings))  # type: ignore[arg-type]
