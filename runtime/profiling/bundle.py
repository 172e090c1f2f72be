"""A bundle measured operator by operator on this machine, beside what the cost model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...costmodel.calibrated import CalibratedTarget
from ...costmodel.hardware import Target
from ...costmodel.predict import Predictor
from ...costmodel.prediction import GraphPrediction
from ..bundle import Bundle
from ..bundle_subject import bundle_subject, feeds_by_port, model_path, ort_level, unrunnable
from ..measure import clock_of, measure
from ..measure_subject import Subject
from .fused import sources_by_kernel
from .timeline import Event, Profile, sources_of


@dataclass(frozen=True)
class Operator:
    """One operator of a bundle.

    Attributes:
        name: the runtime's name.
        op: the runtime's operator.
        sources: nodes of the imported model.
        measured: seconds of one run.
        predicted: low, expected and high seconds; None without a target or when the cost model does not see it.
        bound: what bounds it, as predicted.
        compute: the attained share of the target's peak; None without a target or arithmetic.
        bandwidth: the attained share of the bandwidth of the farthest memory that it draws on; None without a target.
        details: the runtime's own remarks.
    """

    name: str
    op: str
    sources: tuple[str, ...]
    measured: float
    predicted: tuple[float, float, float] | None = None
    bound: str = ""
    compute: float | None = None
    bandwidth: float | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class BundleProfile:
    """The outcome.

    Attributes:
        profile: the events, for the trace.
        operators: in the order of execution.
        seconds: one inference, profiler off.
        prediction: of the whole; None without a target.
    """

    profile: Profile
    operators: tuple[Operator, ...]
    seconds: float
    prediction: GraphPrediction | None


def profile_bundle(
    bundle: Bundle, feeds: Mapping[str, Any], *, runs: int = 10, threads: int = 1, target: Target | CalibratedTarget | None = None
) -> BundleProfile:
    """Measure a bundle.

    Args:
        bundle: of ort, openvino or tflite.
        feeds: inputs by their public names.
        runs: how many runs the runtime's profiler covers.
        threads: of the runtime.
        target: what predictions are made for; None for none.

    Raises:
        Diagnostic: E0651 for bundles of other targets.
    """
    checked = bundle.signature.check(feeds)
    if bundle.target == "ort":
        profile, subject = _ort(bundle, checked, runs, threads)
    elif bundle.target == "openvino":
        profile, subject = _openvino(bundle, checked, runs, threads)
    elif bundle.target == "tflite":
        profile, subject = _tflite(bundle, checked, threads)
    else:
        raise unrunnable(bundle)
    seconds = measure(subject.run, clock_of(threads), 0.5).seconds
    prediction = Predictor(subject.schedule, target).predict(subject.bindings) if target is not None else None
    return BundleProfile(profile, tuple(_operators(profile, prediction, target)), seconds, prediction)


def _ort(bundle: Bundle, feeds: Mapping[str, Any], runs: int, threads: int) -> tuple[Profile, Subject]:
    from ...ir.serial.reader import read_model
    from .ort import least_by_node, profile_ort

    path, level = model_path(bundle), ort_level(bundle)
    subject = bundle_subject(bundle, feeds, threads)
    raw = profile_ort(path, feeds, runs=runs, threads=threads, level=level, sizes=subject.fixed)
    assert subject.model is not None
    sources = sources_by_kernel(subject.model.graph, read_model(path).graph, bundle.debug["nodes"])
    first = {e.name: e for e in reversed(raw.events) if e.kind == "kernel"}
    events = [
        Event(name, first[name].op, "kernel", None, seconds, "", sources.get(name, ()), first[name].details)
        for name, seconds in least_by_node(raw).items()
    ]
    return Profile(raw.runtime, tuple(events), raw.runs), subject


def _openvino(bundle: Bundle, feeds: Mapping[str, Any], runs: int, threads: int) -> tuple[Profile, Subject]:
    from .openvino import profile_openvino

    path = model_path(bundle)
    profile, subject = profile_openvino(path, feeds_by_port(path, feeds), runs=runs, threads=threads)
    return _joined(profile, bundle), subject


def _tflite(bundle: Bundle, feeds: Mapping[str, Any], threads: int) -> tuple[Profile, Subject]:
    from .litert import profile_tflite

    xnnpack = bool(bundle.manifest.get("options", {}).get("xnnpack", True))
    profile, subject = profile_tflite(model_path(bundle), list(feeds.values()), threads=threads, xnnpack=xnnpack)
    return _joined(profile, bundle), subject


def _joined(profile: Profile, bundle: Bundle) -> Profile:
    """The profile with nodes of the imported model in place of layers of the runtime's model."""
    tables = {**bundle.debug.get("tensors", {}), **bundle.debug["nodes"]}
    events = []
    for event in profile.events:
        found: dict[str, None] = {}
        for name in (event.name, *event.sources):
            found.update(dict.fromkeys(sources_of(name, tables)))
        events.append(Event(event.name, event.op, event.kind, event.start, event.seconds, event.lane, tuple(found), event.details))
    return Profile(profile.runtime, tuple(events), profile.runs, profile.notes)


def _operators(profile: Profile, prediction: GraphPrediction | None, target: Target | CalibratedTarget | None) -> list[Operator]:
    nodes = {n.name: n for n in prediction.nodes} if prediction is not None else {}
    machine = target.target if isinstance(target, CalibratedTarget) else target
    engine = next((e for e in machine.engines if e.name == machine.default_engine), None) if machine is not None else None
    found: list[Operator] = []
    for event in profile.events:
        if event.kind != "kernel":
            continue
        node = nodes.get(event.name)
        compute = bandwidth = None
        if node is not None and engine is not None and event.seconds > 0:
            peak = engine.peak.get(node.dtype) or engine.peak.get("f32")
            compute = node.flops / event.seconds / peak.value if peak is not None and node.flops else None
            bandwidth = node.bytes / event.seconds / engine.memory[-1].bandwidth.value
        low_high = node.seconds if node is not None else None
        bound = node.bound if node is not None else ""
        found.append(Operator(event.name, event.op, event.sources, event.seconds, low_high, bound, compute, bandwidth, event.details))
    return found
