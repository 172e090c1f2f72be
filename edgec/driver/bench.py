"""`edgec bench`: times on this machine beside predictions, over the sizes of a dimension, and what bounds them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..optimizing import Settings
from .arguments import usage_error
from .bench_text import bench_text
from .console import emit
from .progress import stepping

if TYPE_CHECKING:
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.hardware import Target
    from ..costmodel.prediction import GraphPrediction
    from ..runtime.examine import Examination, Share
    from ..runtime.interleaved import Rounds
    from ..runtime.measure_subject import Subject
    from ..runtime.pressure import Placement
    from .bench_subject import Benched

SCHEMA = "edgec.bench/1"
BUDGET_S = 0.1  # seconds of a timing
CHAINS = (1, 65)  # nodes of graphs that do nothing


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `edgec bench --help`."""

    path: Path | None = None
    kernel: str | None = None
    sweep: str | None = None
    backend: str | None = None
    threads: int = 1
    target: str | None = None
    simulate: str | None = None
    engine: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    freeze: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 5
    bound: bool = True
    as_json: bool = False


@dataclass
class Measured:
    """What was found at all sizes.

    Attributes:
        times: by size.
        predictions: by size; empty without a target.
        kernels: launches of an inference, by size.
        launch: seconds of an inference without kernels, and of every kernel that does nothing; None when it was not measured.
        examination: what disturbances showed; None when it was not wanted.
    """

    times: dict[int, Rounds] = field(default_factory=dict)
    predictions: dict[int, GraphPrediction] = field(default_factory=dict)
    kernels: dict[int, int] = field(default_factory=dict)
    launch: tuple[float, float] | None = None
    examination: Examination | None = None


def bench(request: Request, settings: Settings) -> None:
    """Measure, or with ``simulate`` examine the cost model in the same way.

    Raises:
        Diagnostic: E0801 for options that contradict each other; what compiling, loading and opening the target raise.
    """
    if (request.path is None) == (request.kernel is None):
        what = "there is nothing to measure" if request.path is None else "a model and a kernel"
        raise usage_error(what, "edgec bench", "give a model, or --kernel gemm")
    if request.simulate is not None:
        from .bench_simulate import simulate

        simulate(request, settings)
        return
    from ..costmodel.analysis.subject import open_target
    from ..runtime.pressure import bound_to, place
    from .bench_subject import open_benched

    machine = open_target(request.target) if request.target is not None else None
    placement = place(request.threads)
    with tempfile.TemporaryDirectory() as folder, bound_to(placement.work):
        benched = open_benched(
            request.path, request.kernel, request.sweep, request.backend, request.dims, request.freeze, settings, Path(folder)
        )
        measured = measure(benched, request, machine, placement, Path(folder))
    facts = document(benched, measured, request)
    emit(facts, request.as_json, bench_text(facts))


def measure(benched: Benched, request: Request, machine: Target | CalibratedTarget | None, placement: Placement, folder: Path) -> Measured:
    """Time every size in turn, then disturb the machine while the least and the greatest run.

    Args:
        benched: what runs.
        request: threads, rounds, and whether the bound is wanted.
        machine: for predictions.
        placement: cores; this thread is on those of the work already.
        folder: for graphs that do nothing.
    """
    from ..runtime.examine import Examination, examine
    from ..runtime.interleaved import interleave
    from ..runtime.measure import clock_of
    from .bench_subject import chain_subject

    found = Measured(examination=Examination() if request.bound else None)
    backend = benched.bundle.target
    chains = [chain_subject(nodes, backend, request.threads, folder) for nodes in CHAINS] if request.bound else []
    for group in benched.groups():
        subjects = {size: benched.load(size, request.threads) for size in group}
        runs: dict[int, Any] = {size: subject.run for size, subject in subjects.items()}
        if found.launch is None:
            runs |= {-nodes: chain.run for nodes, chain in zip(CHAINS, chains, strict=False)}
        with stepping(f"timing {benched.name}") as step:
            timed = interleave(runs, clock_of(request.threads), rounds=request.rounds, budget_s=BUDGET_S, step=step)
        if chains and found.launch is None:
            few, many = (timed[-nodes].median for nodes in CHAINS)
            each = max((many - few) / (CHAINS[1] - CHAINS[0]), 0.0)
            found.launch = max(few - each, 0.0), each
        for size, subject in subjects.items():
            found.times[size] = timed[size]
            found.kernels[size] = sum(1 for kernel in subject.schedule.kernels if kernel.geometry.kernel != "view")
            if machine is not None:
                found.predictions[size] = _predict(subject, machine, request.threads)
        ends = {size: subjects[size].run for size in group if size in (benched.sizes[0], benched.sizes[-1])}
        if found.examination is not None and ends:
            with stepping("what bounds it") as step:
                part = examine(ends, placement, request.threads, step=step)
            part.shares = {**found.examination.shares, **part.shares}
            found.examination = part
    return found


def _predict(subject: Subject, machine: Target | CalibratedTarget, threads: int) -> GraphPrediction:
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.predict import Predictor, engine_of
    from ..costmodel.roofline import Setting

    device = machine.target if isinstance(machine, CalibratedTarget) else machine
    engine = engine_of(device)
    setting = Setting(units=min(threads, engine.units)) if engine.kind == "cpu" else None  # threads are those of a processor
    return Predictor(subject.schedule, machine, setting=setting).predict(subject.bindings)


# -- the document ------------------------------------------------------------------------------------------------------
def document(benched: Benched, measured: Measured, request: Request) -> dict[str, Any]:
    """The facts as plain data; seconds are the least of all rounds, as calibration takes them, medians stand beside."""
    from ..costmodel.analysis.batching import efficiency
    from ..costmodel.analysis.bottleneck import bound_shares
    from ..runtime.measure import clock_of

    sizes = benched.sizes
    seconds = [measured.times[size].least for size in sizes]
    predicted = [measured.predictions[size].seconds[1] for size in sizes] if measured.predictions else []
    shares = efficiency(sizes, seconds).tolist()
    expected = efficiency(sizes, predicted).tolist() if predicted else []
    rows = []
    for index, size in enumerate(sizes):
        rounds = measured.times[size]
        row: dict[str, Any] = {
            "size": size,
            "seconds": rounds.least,
            "median": rounds.median,
            "quartiles": list(rounds.quartiles),
            "throughput": size / rounds.least,
            "efficiency": shares[index],
            "predicted": None,
        }
        if predicted:
            found = measured.predictions[size]
            low, middle, high = found.seconds
            row["predicted"] = {
                "seconds": list(found.seconds),
                "efficiency": expected[index],
                "error": middle / rounds.least - 1.0,
                "inside": low <= rounds.least <= high,
                "bound_shares": bound_shares(found),
            }
        rows.append(row)
    first = measured.predictions.get(sizes[0])
    return {
        "schema": SCHEMA,
        "ok": True,
        "model": benched.name,
        "backend": benched.bundle.target,
        "version": benched.version,
        "threads": request.threads,
        "clock": clock_of(request.threads),
        "rounds": request.rounds,
        "symbol": benched.symbol,
        "dims": benched.dims,
        "hardware": request.target,
        "tier": first.tier if first is not None else None,
        "sizes": rows,
        "truth": benched.truth,
        **_bounds(measured, sizes),
    }


def _bounds(measured: Measured, sizes: Sequence[int]) -> dict[str, Any]:
    """What bounds the least and the greatest size, and how that was found."""
    examination = measured.examination
    if examination is None:
        return {"launch": None, "bounds": [], "examination": None}
    run, each = measured.launch or (0.0, 0.0)
    rows = [
        _bound(size, share, _slope(measured.times, sizes, size), (run + each * measured.kernels[size]) / measured.times[size].median)
        for size, share in ((size, examination.shares[size]) for size in dict.fromkeys((sizes[0], sizes[-1])))
    ]
    facts = {"methods": examination.methods, "reasons": examination.reasons, **examination.facts}
    return {"launch": {"run": run, "kernel": each}, "bounds": rows, "examination": facts}


def _bound(size: int, share: Share, batch: float | None, overhead: float) -> dict[str, Any]:
    from ..costmodel.analysis.experiment import UNDECIDED, measured_elasticity

    found = measured_elasticity(share.memory, share.core, overhead, batch)
    return {
        "size": size,
        "bound": found.bound if found is not None else UNDECIDED,
        "core": found.core if found is not None else None,
        "memory": found.memory if found is not None else None,
        "batch": batch,
        "overhead": min(overhead, 1.0),
        "measured": {"memory_share": share.memory, "core_share": share.core},
    }


def _slope(times: Mapping[int, Rounds], sizes: Sequence[int], size: int) -> float | None:
    """d ln T / d ln size, between a size and the one that is closest to its double, or to its half at the end."""
    other = min((s for s in sizes if s != size), key=lambda s: abs(abs(math.log(s / size)) - math.log(2.0)), default=None)
    if other is None:
        return None
    return math.log(times[other].median / times[size].median) / math.log(other / size)
