"""`edgec bench --simulate`: the experiments of `edgec bench` on the cost model, whose bottlenecks are known."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..optimizing import Settings
from .bench_text import simulation_text
from .console import emit
from .progress import working

if TYPE_CHECKING:
    from ..costmodel.hardware import Target
    from ..costmodel.predict import Predictor
    from ..ir.graph import Graph
    from .bench import Request

SCHEMA = "edgec.bench-simulation/1"
TIER = "spec"  # the tier that follows the clocks


def simulate(request: Request, settings: Settings) -> None:
    """Examine a model or a probe on a target's roofline: clocks scaled, memory slowed down, batch doubled; beside the truth.

    Raises:
        Diagnostic: what opening the target and predicting raise, E0801 for a sweep that names nothing.
    """
    from ..costmodel.analysis.batching import efficiency
    from ..costmodel.analysis.experiment import simulate as experiment
    from ..costmodel.analysis.probes import chain_model
    from ..costmodel.analysis.subject import batch_symbol, open_target
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.predict import Predictor, engine_of
    from ..costmodel.roofline import Setting
    from .bench_subject import PROBE_SIZES, SIZES, swept

    assert request.simulate is not None
    found = open_target(request.simulate)
    target: Target = found.target if isinstance(found, CalibratedTarget) else found
    engine = engine_of(target, request.engine)
    setting = Setting(units=min(request.threads, engine.units)) if engine.kind == "cpu" else Setting()

    def predictor_of(graph: Graph) -> Predictor:
        return Predictor(graph, target, engine=engine.name, tier=TIER, setting=setting)

    with working("simulating"):
        name, kernels, plain = _graphs(request, settings, predictor_of)
        predictor = predictor_of(kernels)
        inputs = predictor.compiled.schedule.inputs
        free = [symbol for symbol in inputs if symbol not in request.dims]
        symbol, sizes = swept(request.sweep, free, SIZES if request.path is not None else PROBE_SIZES)
        doubled = symbol or batch_symbol(list(inputs), plain)
        launches: dict[int, float] = {}

        def launch(nodes: int) -> float:
            if nodes not in launches:
                launches[nodes] = predictor_of(chain_model(nodes).graph).predict({}).seconds[1]
            return launches[nodes]

        points = [{**request.dims, **({symbol: size} if symbol is not None else {})} for size in sizes]
        seconds = [predictor.predict(point).seconds[1] for point in points]
        outcomes = [experiment(predictor, point, doubled if doubled in point else None, launch) for point in points]
    rows: list[dict[str, Any]] = []
    for size, time, share, outcome in zip(sizes, seconds, efficiency(sizes, seconds).tolist(), outcomes, strict=True):
        clocks, pressure = ({**asdict(e), "bound": e.bound} for e in (outcome.clocks, outcome.pressure))
        truth = outcome.truth if outcome.clocks.batch is not None or outcome.truth not in ("weights", "activations") else "memory"
        rows.append(
            {
                "size": size,
                "seconds": time,
                "throughput": size / time,
                "efficiency": share,
                "truth": truth,
                "truth_share": outcome.truth_share,
                "clocks": clocks,
                "pressure": pressure,
                "agrees": clocks["bound"] == pressure["bound"] == truth,
            }
        )
    facts = {
        "schema": SCHEMA,
        "ok": True,
        "model": name,
        "target": target.name,
        "engine": engine.name,
        "tier": TIER,
        "symbol": symbol,
        "dims": dict(request.dims),
        "sizes": rows,
    }
    emit(facts, request.as_json, simulation_text(facts))


def _graphs(request: Request, settings: Settings, predictor_of: Any) -> tuple[str, Graph, Graph]:
    """The name, the graph of the kernels that run, and the plain graph."""
    from ..costmodel.analysis.probes import chain_model
    from .bench_subject import probe
    from .cost_subject import open_subject

    if request.path is not None:
        opened = open_subject(request.path, settings, request.freeze, True)
        return opened.name, opened.kernels("regions"), opened.graph
    levels = predictor_of(chain_model(1).graph).roofs.levels
    cache = max((level.capacity for level in levels[:-1]), default=0.0)
    graph = probe(request.kernel or "", cache).graph
    return f"kernel {request.kernel}", graph, graph
