"""Calibration: measure synthetic graphs on a runtime of this machine, fit, write a target that predictions take."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..ir.diagnostics import Diagnostic, code, did_you_mean
from .console import emit, table
from .progress import stepping

if TYPE_CHECKING:
    from ..costmodel.calibration.assemble import Calibration
    from ..costmodel.calibration.fitting import Observation
    from ..costmodel.calibration.recipe import Material
    from ..costmodel.hardware import Target
    from ..runtime.measure_recipes import Collection
    from ..runtime.measure_subject import Subject

BACKENDS = ("ort", "openvino", "tflite")
SCHEMA = "edgec.calibrate/1"

E_BACKEND = code(
    "E1031",
    "the runtime cannot be calibrated here",
    "Calibration runs graphs on this machine. That is possible with the backends ort, openvino and tflite, when their packages are "
    "installed.",
)
E_FEW = code(
    "E1032",
    "too few graphs were measured",
    "The runtime refused almost all synthetic graphs, so that no coefficients can be fitted.",
)
LEAST = 40  # graphs
COUNTED = 6  # runs of a graph with the runtime's counters of layers
KEPT_BYTES = 8 << 20  # of a synthetic graph that is kept in its lowered form from round to round


def setting_of(backend: str, threads: int) -> dict[str, Any]:
    """What has to be the same for measurements to be comparable.

    Raises:
        Diagnostic: E1031 for an unknown backend or one that is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    from ..costmodel.calibration.host import processor_name

    if backend not in BACKENDS:
        raise Diagnostic(E_BACKEND, f"'{backend}' cannot be calibrated", hint=did_you_mean(backend, list(BACKENDS)))
    package = {"ort": "onnxruntime", "openvino": "openvino", "tflite": "ai-edge-litert"}[backend]
    try:
        found = version(package)
    except PackageNotFoundError as error:
        raise Diagnostic(E_BACKEND, f"{package} is not installed", hint=f"pip install edgec[{backend}]") from error
    lowering = {"edgec": __version__} if backend == "tflite" else {}  # graphs run in the form that our lowering gives them
    return {"backend": backend, package: found, "threads": threads, "processor": processor_name(), **lowering}


def load_model(backend: str, source: Path | bytes, feeds: Mapping[str, Any], threads: int, level: str) -> Subject:
    """A model in a runtime, ready to be timed.

    Raises:
        Diagnostic: when the runtime or its lowering refuses the model.
    """
    if backend == "ort":
        from ..runtime.measure_ort import ort_subject

        found = ort_subject(source, feeds, threads, level)
        if found.schedule.free and found.bindings:  # sizes that only a run decides: bind those of the inputs, and most become numbers
            return ort_subject(source, feeds, threads, level, sizes=found.bindings)
        return found
    if backend == "openvino":
        from ..runtime.measure_openvino import openvino_subject

        return openvino_subject(source, feeds, threads, level)
    with tempfile.TemporaryDirectory() as folder:
        return _lowered(source, feeds, threads, Path(folder))


def _lowered(source: Path | bytes, feeds: Mapping[str, Any], threads: int, folder: Path) -> Subject:
    """A model in LiteRT, for the sizes of its inputs; its bundle is kept in the folder, and taken from there when it is there already.

    Of sizes that are not fixed the interpreter tells nothing behind a delegate.
    """
    from ..api import compile, load, load_bundle
    from ..runtime.measure_subject import bindings_of
    from ..runtime.measure_tflite import tflite_subject

    place = folder / "bundle"
    if not place.exists():
        path = source if isinstance(source, Path) else folder / "model.onnx"
        if isinstance(source, bytes):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)
        model = load(path)
        compile(model, target="tflite", output=place, dims=bindings_of(model.graph, feeds))
    bundle = load_bundle(place)
    arrays = list(bundle.signature.check(feeds).values())
    return tflite_subject(place / "model.tflite", arrays, threads)


def calibrate(
    backend: str,
    threads: int,
    output: Path,
    *,
    quick: bool = False,
    cache: Path | None = None,
    rounds: int | None = None,
    as_json: bool = False,
) -> None:
    """Calibrate, write the target, print the errors.

    Raises:
        Diagnostic: E1030 to E1032, and what writing raises.
    """
    from ..costmodel.calibrated import save_calibrated

    setting = setting_of(backend, threads)
    started = time.perf_counter()
    place = cache or default_cache(setting)
    collection = measure_all(backend, threads, setting, quick, place, rounds or (2 if quick or backend == "tflite" else 3))
    if len(collection.samples) < LEAST:
        reasons = list(dict.fromkeys(reason for _, reason in collection.refused))[:3]
        raise Diagnostic(E_FEW, f"only {len(collection.samples)} graphs ran", backend, notes=reasons)
    result = fit_all(collection, backend, threads, {**{k: str(v) for k, v in setting.items()}, "extent": "quick" if quick else "full"})
    save_calibrated(result.calibrated, output)
    facts = _facts(result, collection, output, time.perf_counter() - started)
    emit(facts, as_json, _text(facts))


def default_cache(setting: Mapping[str, Any]) -> Path:
    """Where measurements are kept unless a file is named; one file per setting."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgec" / "calibration"
    mark = hashlib.sha256(repr(sorted(setting.items())).encode()).hexdigest()[:12]
    return folder / f"{setting['backend']}-{setting['threads']}-{mark}.jsonl"


def measure_all(backend: str, threads: int, setting: Mapping[str, Any], quick: bool, cache: Path, rounds: int) -> Collection:
    """Measure what the cache lacks."""
    from ..costmodel.calibration.grids import recipes
    from ..costmodel.calibration.store import Store
    from ..runtime.measure_recipes import collect

    found = recipes(quick)
    fused = {r.kind for r in found if r.level == "all"}
    wanted = [r for r in found if backend == "ort" or r.level == "all" or r.kind not in fused]  # others know no levels
    store = Store(cache, setting)
    with tempfile.TemporaryDirectory() as folder, stepping(f"calibrating {backend}") as step:

        def load(material: Material, threads: int, level: str) -> Subject:
            if backend != "tflite" or len(material.model) > KEPT_BYTES:
                return load_model(backend, material.model, material.feeds, threads, level)
            mark = hashlib.sha256(material.model).hexdigest()[:20]  # lowering takes longer than measuring: later rounds find it done
            return _lowered(material.model, material.feeds, threads, Path(folder) / mark)

        count = _counting(threads) if backend == "openvino" and threads == 1 else None
        return collect(wanted, load, store, threads=threads, rounds=rounds, budget_s=0.12, progress=step, count=count)


def _counting(threads: int) -> Callable[[Material], Mapping[str, float]]:
    """What gives the layers' seconds of a graph in OpenVINO."""
    from ..runtime.profiling.openvino import profile_openvino

    def count(material: Material) -> Mapping[str, float]:
        profile, _ = profile_openvino(material.model, material.feeds, runs=COUNTED, threads=threads)
        return {event.name: event.seconds for event in profile.events if event.seconds > 0}

    return count


def fit_all(collection: Collection, backend: str, threads: int, facts: Mapping[str, str], machine: Target | None = None) -> Calibration:
    """Coefficients from measured graphs.

    Args:
        collection: the graphs.
        backend: which runtime ran them.
        threads: with how many threads.
        facts: for people.
        machine: where they ran; this machine, measured now, unless given.
    """
    from ..costmodel.calibration.assemble import calibrate as assemble
    from ..costmodel.calibration.assemble import observe, product_error, sized_of
    from ..costmodel.calibration.host import SHARES, host_target, with_share
    from ..costmodel.roofline import roofs_of

    target = machine or host_target(threads, 5e-7, 4e-6)
    sized = [sized_of(s.schedule, s.bindings) for s in collection.samples]

    def seen_on(machine: Target) -> list[Observation]:
        roofs = roofs_of(machine.engines[0])
        return [
            observe(sizes, roofs, s.seconds, s.ends, s.recipe.focus, s.recipe.key, s.parts)
            for sizes, s in zip(sized, collection.samples, strict=True)
        ]

    machines = {share: with_share(target, share) for share in SHARES}
    seen = {share: seen_on(machine) for share, machine in machines.items()}
    share = min(SHARES, key=lambda s: product_error(seen[s], machines[s]))
    return assemble(seen[share], sized, machines[share], backend, threads, facts)


def _facts(result: Calibration, collection: Collection, output: Path, seconds: float) -> dict[str, Any]:
    calibrated = result.calibrated
    return {
        "schema": SCHEMA,
        "target": str(output),
        "backend": calibrated.backend,
        "threads": calibrated.threads,
        "graphs": len(collection.samples),
        "refused": [{"graph": recipe.key, "reason": reason} for recipe, reason in collection.refused],
        "seconds": seconds,
        "run_seconds": calibrated.target.engines[0].run_s.value,
        "graph_interval": list(calibrated.graph_spread),
        "networks": list(result.networks),
        "classes": [{"class": r.focus, "graphs": r.graphs, "error": r.error, "median_error": r.median} for r in result.reports],
    }


def _text(facts: Mapping[str, Any]) -> str:
    rows = [[c["class"], c["graphs"], f"{c['error']:.1%}", f"{c['median_error']:.1%}"] for c in facts["classes"]]
    text = table(("class", "graphs", "mean error", "median error"), rows, (1, 2, 3))
    networks = [abs(n - 1.0) for n in facts["networks"]]
    lines = [f"{facts['target']}: {facts['graphs']} graphs on {facts['backend']}, {facts['threads']} threads, in {facts['seconds']:.0f} s"]
    lines += [f"{len(facts['refused'])} graphs were not taken by the runtime"] if facts["refused"] else []
    lines += ["errors in cross-validation:", text]
    lines += [f"synthetic networks, by fits that did not see them: mean error {sum(networks) / len(networks):.1%}"] if networks else []
    return "\n".join(lines)
