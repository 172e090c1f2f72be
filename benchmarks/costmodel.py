"""Judge cost models on measured graphs: errors of whole models and of operators, rank order, intervals, and what each part is worth.

    python -m benchmarks.costmodel --target host.toml --backend ort --threads 1            # measure what is missing, then judge
    python -m benchmarks.costmodel --target host.toml --plugin examples/cost_model_plugin.py --tier neighbours
    python -m benchmarks.costmodel --target host.toml --ablations --json result.json
    python -m benchmarks.costmodel --target host.toml --set held-out

Measurements are kept in a cache (EDGEC_MEASUREMENTS) and taken in several rounds; the minimum counts. Calibrate first with
`edgec calibrate --backend ort --threads 1 -o host.toml`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.costmodel_graphs import SETS, Graph, Measured, cache_folder, graphs, measured
from edgec.costmodel.calibrated import CalibratedTarget, load_calibrated
from edgec.costmodel.calibration.store import Store
from edgec.costmodel.compiled import Sized
from edgec.costmodel.model import CostModel, Estimate, MicrobenchmarkModel, SpecModel, cost_model
from edgec.costmodel.predict import Predictor
from edgec.costmodel.roofline import Roofs
from edgec.driver.calibrate import setting_of
from edgec.ir.diagnostics import Diagnostic
from edgec.runtime.measure_subject import Subject


@dataclass(frozen=True)
class Verdict:
    """A cost model on one graph: predicted interval, measured time, time-weighted error of operators (None when not measured)."""

    name: str
    low: float
    expected: float
    high: float
    measured: float
    operators: float | None

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.expected / self.measured - 1.0


@dataclass(frozen=True)
class Figures:
    """What is reported of a cost model on all graphs."""

    model: str
    graphs: int
    mape: float
    within: float
    tau: float
    coverage: float
    operators: float
    worst: float

    def row(self) -> str:
        """A line of the table."""
        return (
            f"{self.model:34s} {self.graphs:4d} {self.mape:7.1%} {self.within:7.0%} {self.tau:7.3f} {self.coverage:8.0%} "
            f"{self.operators:8.1%} {self.worst:8.0%}"
        )


HEADING = f"{'cost model':34s} {'n':>4s} {'MAPE':>7s} {'±10 %':>7s} {'tau':>7s} {'in 90 %':>8s} {'per op':>8s} {'worst':>8s}"


def judge(model: CostModel | str, found: Sequence[Measured], target: CalibratedTarget) -> list[Verdict]:
    """Predictions of a cost model for all graphs."""
    verdicts: list[Verdict] = []
    for item in found:
        predicted = Predictor(item.schedule, target, tier=model).predict(item.bindings)
        low, expected, high = predicted.seconds
        parts = {n.name: n.seconds[1] for n in predicted.nodes}
        verdicts.append(Verdict(item.graph.key, low, expected, high, item.seconds, operator_error(parts, item.operators)))
    return verdicts


def operator_error(predicted: Mapping[str, float], measured_: Mapping[str, float]) -> float | None:
    """Sum of absolute errors over the sum of times, of the operators that both know."""
    common = [name for name in measured_ if name in predicted]
    total = sum(measured_[name] for name in common)
    if not common or total <= 0 or total < 0.5 * sum(measured_.values()):
        return None
    return sum(abs(predicted[name] - measured_[name]) for name in common) / total


def figures(name: str, verdicts: Sequence[Verdict]) -> Figures:
    """The summary of a cost model."""
    from scipy.stats import kendalltau

    errors = np.array([abs(v.error) for v in verdicts])
    inside = np.array([v.low <= v.measured <= v.high for v in verdicts])
    tau = kendalltau([v.expected for v in verdicts], [v.measured for v in verdicts])[0] if len(verdicts) > 1 else float("nan")
    per_operator = [v.operators for v in verdicts if v.operators is not None]
    mean = float(np.mean(per_operator)) if per_operator else float("nan")
    return Figures(
        name,
        len(verdicts),
        float(errors.mean()),
        float((errors <= 0.1).mean()),
        float(tau),
        float(inside.mean()),
        mean,
        float(errors.max()),
    )


# -- ablations ---------------------------------------------------------------------------------------------------------
class Altered:
    """A cost model that sees another machine: memory of other sizes."""

    def __init__(self, inner: CostModel, name: str, factor: float) -> None:
        self.inner, self.name, self.factor = inner, name, factor

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """The estimate with caches of other sizes: everything stays in the nearest one, or nothing stays anywhere."""
        levels = tuple(
            replace(level, retained=level.retained * self.factor, capacity=level.capacity * max(self.factor, 1.0)) for level in roofs.levels
        )
        return self.inner.estimate(sized, replace(roofs, levels=levels))


class Peak:
    """Operations over the peak rate, and nothing else."""

    name = "operations over the peak"

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """Operations over the peak of float32."""
        plain = SpecModel().estimate(sized, roofs)
        seconds = sized.flops / roofs.peak("f32")[0].value
        return replace(plain, low=seconds * 0.5, expected=seconds, high=seconds * 2.0)


class Proportional:
    """A cost model times one factor for everything, fitted on half of the graphs' own times: kinder than what it stands for."""

    def __init__(self, inner: CostModel, factor: float) -> None:
        self.inner, self.factor, self.name = inner, factor, f"one scalar on {inner.name}"

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """The scaled estimate."""
        plain = self.inner.estimate(sized, roofs)
        return replace(plain, low=plain.low * self.factor, expected=plain.expected * self.factor, high=plain.high * self.factor)


def ablations(target: CalibratedTarget, found: Sequence[Measured]) -> dict[str, CostModel | str]:
    """Cost models with something taken away."""
    whole = MicrobenchmarkModel(target)
    roofline = judge(SpecModel(), found[::2], target)
    factor = float(np.median([v.measured / v.expected for v in roofline]))
    return {
        "everything in the nearest cache": Altered(whole, "warm", 1e6),
        "nothing stays in any cache": Altered(whole, "cold", 1e-9),
        "one scalar per class": "scalar",
        "one scalar on the roofline": Proportional(SpecModel(), factor),
        "roofline": "spec",
        "operations over the peak": Peak(),
    }


def unfused(found: Sequence[Measured]) -> list[Measured]:
    """Graphs that ran with fusions, with the schedules of those that ran without: a model that does not know what really runs."""
    plain = {item.graph.name: item for item in found if item.graph.level == "basic"}
    pairs = [(item, plain.get(item.graph.name)) for item in found if item.graph.level == "all"]
    return [replace(item, schedule=other.schedule, bindings=other.bindings, operators={}) for item, other in pairs if other is not None]


# -- the command -------------------------------------------------------------------------------------------------------
def loader(backend: str, threads: int) -> Any:
    """What puts graphs into a runtime."""
    from edgec.driver.calibrate import load_model

    def load(graph: Graph, feeds: Mapping[str, Any]) -> Subject:
        return load_model(backend, graph.path, feeds, threads, graph.level)

    return load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="a calibrated target")
    parser.add_argument("--tier", action="append", help="cost models to judge (default: microbenchmark); repeatable")
    parser.add_argument("--plugin", action="append", default=[], help="a module or file that registers a cost model")
    parser.add_argument("--only", action="append", default=[], help="names of graphs")
    parser.add_argument("--set", choices=list(SETS), default="development", help="which graphs: held-out ones were not developed on")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for one graph in one round")
    parser.add_argument("--operators", action="store_true", help="measure operators too (ONNX Runtime)")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="every graph")
    parser.add_argument("--json", help="write the figures here")
    given = parser.parse_args(arguments)
    try:
        return run(given)
    except Diagnostic as error:
        print(error, file=sys.stderr)
        return 2


def run(given: argparse.Namespace) -> int:
    """Measure, judge, print."""
    target = load_calibrated(given.target)
    if given.plugin:
        from edgec.optimizing import load_plugin_modules

        load_plugin_modules(given.plugin)
    levels = ("all", "basic") if target.backend == "ort" else ("all",)
    wanted = list(graphs(given.only, levels, given.set))
    store = Store(cache_folder() / f"graphs-{target.backend}-{target.threads}.jsonl", setting_of(target.backend, target.threads))
    found = measured(
        wanted,
        loader(target.backend, target.threads),
        store,
        threads=target.threads,
        rounds=given.rounds,
        budget_s=given.budget,
        operators=given.operators and target.backend == "ort",
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    models: dict[str, CostModel | str] = {t: cost_model(t, target.target, target) for t in given.tier or ["microbenchmark"]}
    if given.ablations:
        models |= ablations(target, found)
    print(HEADING)
    result: dict[str, Any] = {"target": given.target, "backend": target.backend, "threads": target.threads, "models": {}}
    for name, model in models.items():
        verdicts = judge(model, found, target)
        summary = figures(name, verdicts)
        print(summary.row())
        for level in levels if len(levels) > 1 else ():
            part = [v for v in verdicts if v.name.endswith("@" + level)]
            if part and name in (given.tier or ["microbenchmark"]):
                print(figures(f"  {'fusions on' if level == 'all' else 'fusions off'}", part).row())
        if given.verbose:
            for v in sorted(verdicts, key=lambda v: v.error):
                operators = "" if v.operators is None else f"{v.operators:7.1%}"
                limits = f"[{v.low / v.measured:.2f}, {v.high / v.measured:.2f}]"
                print(f"    {v.name:30s} {v.measured * 1e3:9.3f} ms  {v.error:+7.1%}  {limits} {operators}")
        result["models"][name] = {**summary.__dict__, "graphs_": [v.__dict__ for v in verdicts]}
    if given.ablations and unfused(found):
        print(figures("unaware of fusion", judge("microbenchmark", unfused(found), target)).row())
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
