"""Prediction of a model on a target, for one set of sizes or for many at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from ..ir.graph import Graph
from ..ir.model import Model
from .calibrated import CalibratedTarget
from .compiled import ASSUMED, CompiledSchedule, Sized
from .energy import Energy, graph_energy, kernel_energy
from .evaluation import Array
from .hardware import Engine, Target
from .kv import cache_bytes
from .model import AUTOMATIC, CostModel, Estimate, cost_model
from .precision import Precision
from .prediction import GraphPrediction, Prediction, Range
from .roofline import Setting, roofs_of
from .schedule import Schedule, build_schedule

E_ENGINE = code(
    "E1013",
    "the target has no such engine",
    "A target has one or more engines: CPU clusters, a GPU, an NPU. `edgec targets show NAME` lists them.",
)
CHUNK = 128  # points that are evaluated together


@dataclass(frozen=True)
class Sweep:
    """Predictions for n points.

    Attributes:
        bindings: values of the symbols ``[n]``.
        seconds: low, expected and high ``[3, n]``.
        joules: the same at the wall ``[3, n]``.
        peak_bytes: peak of activations ``[n]``.
        weight_bytes: bytes of constants ``[n]``.
        macs: multiply-accumulates ``[n]``.
    """

    bindings: Mapping[str, Array]
    seconds: Array
    joules: Array
    peak_bytes: Array
    weight_bytes: Array
    macs: Array


class Predictor:
    """A model compiled for one engine of a target: `predict` for one point, `sweep` for many.

    Attributes:
        compiled: the schedule.
        target: the device.
        roofs: its engine in a setting.
        cost: the cost model.
    """

    def __init__(
        self,
        model: Model | Graph | Schedule | CompiledSchedule,
        target: Target | CalibratedTarget,
        *,
        engine: str | None = None,
        tier: str | CostModel = AUTOMATIC,
        precision: str | Precision = "native",
        setting: Setting | None = None,
    ) -> None:
        """Compile.

        Args:
            model: a model, its graph, or the schedule of kernels that will really run.
            target: from `targets.load_target` or `calibrated.load_calibrated`.
            engine: the name of an engine; the target's default engine unless given.
            tier: ``auto``, the name of a cost model, or a cost model.
            precision: element types that replace those of floating-point tensors (ignored for a schedule).
            setting: cores and clocks.

        Raises:
            Diagnostic: E1013, E1014 or E1016 for an unknown engine, precision or tier.
        """
        calibrated = target if isinstance(target, CalibratedTarget) else None
        self.target = target.target if isinstance(target, CalibratedTarget) else target
        graph = model.graph if isinstance(model, Model) else model if isinstance(model, Graph) else None
        if graph is not None:
            self.compiled = CompiledSchedule(build_schedule(graph, precision))
        else:
            self.compiled = model if isinstance(model, CompiledSchedule) else CompiledSchedule(model)  # type: ignore[arg-type]
        self.kv_bytes = cache_bytes(graph, self.compiled.schedule.precision) if graph is not None else 0
        self.kv_row = self.compiled.table.row(self.kv_bytes)
        self.roofs = roofs_of(engine_of(self.target, engine), setting)
        self.cost = cost_model(tier, self.target, calibrated) if isinstance(tier, str) else tier

    # -- one point ---------------------------------------------------------------------------------------------------
    def predict(self, bindings: Mapping[str, int] | None = None) -> GraphPrediction:
        """The cost of one inference.

        Sizes that only the data decide (`Schedule.free`) are assumed; the interval covers the range of `compiled.ASSUMED`.

        Raises:
            Diagnostic: E1010, E1011 or E1012 for symbols without value, impossible values, and names that the model lacks.
        """
        given = dict(bindings or {})
        free = [name for name in self.compiled.schedule.free if name not in given]
        points = {**given, **{name: list(ASSUMED) for name in free}} if free else given
        sized = self.compiled.at(points)
        middle = 1 if free else 0
        estimate = self.cost.estimate(sized, self.roofs)
        seconds = self._total(sized, estimate)
        energy = graph_energy(sized, estimate, self.roofs, self.target, seconds)
        total, joules = _around(seconds, middle), _around(energy.wall, middle)
        return GraphPrediction(
            self.target.name,
            self.roofs.engine.name,
            self.cost.name,
            self.compiled.schedule.precision.name,
            given,
            total,
            joules,
            float(sized.peak_bytes[middle]),
            float(sized.weight_bytes[middle]),
            float(sized.values[self.kv_row, middle]),
            self._nodes(sized, estimate, middle),
            self._run(),
            _parts(energy, middle),
            dict.fromkeys(free, ASSUMED[1]),
            tuple(self._notes(estimate)),
        )

    def _nodes(self, sized: Sized, estimate: Estimate, point: int) -> tuple[Prediction, ...]:
        count = sized.count
        low, expected, high = (np.atleast_2d(x * count) for x in (estimate.low, estimate.expected, estimate.high))
        least, greatest = low.min(axis=1, initial=math.inf), high.max(axis=1, initial=0.0)
        joules = kernel_energy(sized, estimate, self.roofs, self.target)
        found: list[Prediction] = []
        levels = [level.name for level in self.roofs.levels]
        for index, kernel in enumerate(self.compiled.schedule.kernels):
            runs = float(count[index, point])
            traffic = {name: float(estimate.traffic[i, index, point]) * runs for i, name in enumerate(levels)}
            found.append(
                Prediction(
                    kernel.name,
                    kernel.op,
                    kernel.geometry.kernel,
                    kernel.dtype,
                    (float(least[index]), float(expected[index, point]), float(greatest[index])),
                    estimate.bounds[int(estimate.bound[index, point])],
                    float(sized.flops[index, point]) * runs,
                    float(sized.macs[index, point]) * runs,
                    float(sized.bytes[index, point]) * runs,
                    traffic,
                    self.cost.name,
                    kernel.known,
                    kernel.nodes,
                    kernel.sources,
                    float(sized.live_bytes[index, point]),
                    float(joules[index, point]),
                )
            )
        return tuple(found)

    def _notes(self, estimate: Estimate) -> list[str]:
        notes = [
            f"the errors of kernels of one class correlate by {estimate.within:g}, those of different classes by {estimate.across:g}",
            f"compute and memory overlap with the exponent {self.roofs.overlap:g}",
        ]
        strangers = [k.name for k in self.compiled.schedule.kernels if not k.known]
        if strangers:
            notes.append(f"{len(strangers)} kernels are priced without knowing them: {', '.join(strangers[:8])}")
        foreign = {k.dtype for k in self.compiled.schedule.kernels if k.macs != 0 and not self.roofs.peak(k.dtype)[1]}
        notes += [f"the engine has no {dtype} arithmetic; another type's rate is used" for dtype in sorted(foreign)]
        return notes

    def _run(self) -> Range:
        run = self.roofs.engine.run_s
        return run.low, run.value, run.high

    # -- many points -------------------------------------------------------------------------------------------------
    def sweep(self, bindings: Mapping[str, Sequence[int] | int | Array]) -> Sweep:
        """Predictions for lists of values: numbers, or equally long lists, by symbol.

        Raises:
            Diagnostic: as `predict`.
        """
        bound, points = self.compiled.bind(bindings)
        given = {name: bound[name] for name in bindings}
        parts = [self._chunk({k: v[i : i + CHUNK] for k, v in given.items()}) for i in range(0, points, CHUNK)]
        joined = [np.concatenate([p[i] for p in parts], axis=-1) for i in range(5)]
        return Sweep(given, joined[0], joined[1], joined[2], joined[3], joined[4])

    def _chunk(self, bindings: Mapping[str, Array]) -> tuple[Array, Array, Array, Array, Array]:
        sized = self.compiled.at(bindings)
        estimate = self.cost.estimate(sized, self.roofs)
        seconds = self._total(sized, estimate)
        energy = graph_energy(sized, estimate, self.roofs, self.target, seconds)
        macs = (sized.macs * sized.count).sum(axis=0)
        return np.stack(seconds), np.stack(energy.wall), sized.peak_bytes, sized.weight_bytes, macs

    def _total(self, sized: Sized, estimate: Estimate) -> tuple[Array, Array, Array]:
        """The sum over kernels and the overhead of a run, with the interval of correlated errors."""
        classes = [group.kernels for group in self.compiled.groups.values()]
        expected = (estimate.expected * sized.count).sum(axis=0)
        below = _deviation((estimate.expected - estimate.low) * sized.count, classes, estimate)
        above = _deviation((estimate.high - estimate.expected) * sized.count, classes, estimate)
        run = self._run()
        low = np.minimum(expected - below, expected * estimate.least[0])
        high = np.maximum(expected + above, expected * estimate.least[1])
        floor = (estimate.low * sized.count).sum(axis=0)
        return np.maximum(low, floor) + run[0], expected + run[1], high + run[2]


def _deviation(deviations: Array, classes: list[Any], estimate: Estimate) -> Array:
    """Deviation of a sum: within a class and across classes, a part of the variance is common and adds up linearly."""
    per_class = []
    for members in classes:
        part = deviations[members]
        linear, squares = np.square(part.sum(axis=0)), np.square(part).sum(axis=0)
        per_class.append(np.sqrt(estimate.within * linear + (1.0 - estimate.within) * squares))
    if not per_class:
        return np.zeros(deviations.shape[1])
    stacked = np.stack(per_class)
    return np.sqrt(estimate.across * np.square(stacked.sum(axis=0)) + (1.0 - estimate.across) * np.square(stacked).sum(axis=0))


def _around(values: tuple[Array, Array, Array], point: int) -> Range:
    return float(values[0].min()), float(values[1][point]), float(values[2].max())


def _parts(energy: Energy, point: int) -> dict[str, Range]:
    found: dict[str, Range] = {"component": _around(energy.component, point), "wall": _around(energy.wall, point)}
    found |= {f"arithmetic.{dtype}": _around(value, point) for dtype, value in energy.arithmetic.items()}
    found |= {f"memory.{level}": _around(value, point) for level, value in energy.memory.items()}
    return found | {"leakage": _around(energy.static, point), "floor": _around(energy.floor, point)}


def engine_of(target: Target, name: str | None = None) -> Engine:
    """An engine of a target by its name, its default engine without one.

    Raises:
        Diagnostic: E1013 when there is none of this name.
    """
    wanted = target.default_engine if name is None else name
    for engine in target.engines:
        if engine.name == wanted:
            return engine
    hint = did_you_mean(wanted, [engine.name for engine in target.engines])
    raise Diagnostic(E_ENGINE, f"the target '{target.name}' has no engine '{wanted}'", hint=hint)


def predict(
    model: Model | Graph | Schedule | CompiledSchedule,
    target: Target | CalibratedTarget,
    bindings: Mapping[str, int] | None = None,
    *,
    engine: str | None = None,
    tier: str | CostModel = AUTOMATIC,
    precision: str | Precision = "native",
    setting: Setting | None = None,
) -> GraphPrediction:
    """The cost of one inference; see `Predictor` for the arguments and `Predictor.predict` for what it raises."""
    return Predictor(model, target, engine=engine, tier=tier, precision=precision, setting=setting).predict(bindings)


def sweep(
    model: Model | Graph | Schedule | CompiledSchedule,
    target: Target | CalibratedTarget,
    bindings: Mapping[str, Sequence[int] | int],
    *,
    engine: str | None = None,
    tier: str | CostModel = AUTOMATIC,
    precision: str | Precision = "native",
    setting: Setting | None = None,
) -> Sweep:
    """Predictions for lists of values; see `Predictor`."""
    return Predictor(model, target, engine=engine, tier=tier, precision=precision, setting=setting).sweep(bindings)
