"""OpenVINO's performance counters as a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..measure_subject import Subject
from .timeline import Event, Profile

WARM_UP = 2
CUT_OFF = 1e-6  # seconds that counters lose of every layer: they drop fractions of a microsecond twice, half of one on average


def profile_openvino(source: str | bytes | Path, feeds: Mapping[str, Any], *, runs: int = 10, threads: int = 1) -> tuple[Profile, Any]:
    """Run a model with performance counters; mean times of the layers after two runs to warm up. Also gives the subject that ran.

    A counter is the mean over all runs of a compiled model: what the first ones took is taken off. Layers of less than a microsecond
    count as nothing.

    Raises:
        Diagnostic: E0504 when OpenVINO refuses the model.
    """
    from ..measure_openvino import openvino_subject

    subject = openvino_subject(source, feeds, threads, properties={"PERF_COUNT": "YES"})
    for _ in range(WARM_UP):
        subject.run()
    before = {item.node_name: item.real_time.total_seconds() for item in _executed(subject)}
    for _ in range(runs):
        subject.run()
    layers = {kernel.name: kernel.sources for kernel in subject.schedule.kernels}
    events: list[Event] = []
    for item in _executed(subject):
        total = item.real_time.total_seconds() * (WARM_UP + runs) - before.get(item.node_name, 0.0) * WARM_UP
        seconds = total / runs + CUT_OFF if total > 0 else 0.0
        sources = layers.get(item.node_name, (item.node_name,))
        events.append(Event(item.node_name, item.node_type, "kernel", None, seconds, "", sources, {"implementation": item.exec_type}))
    return Profile("openvino", tuple(events), runs), subject


def _executed(subject: Subject) -> list[Any]:
    """The counters of the layers that ran."""
    return [item for item in subject.session.profiling_info if str(item.status).endswith("EXECUTED")]
