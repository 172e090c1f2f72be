"""OpenVINO's performance counters as a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .timeline import Event, Profile


def profile_openvino(source: str | Path, feeds: Mapping[str, Any], *, runs: int = 10, threads: int = 1) -> tuple[Profile, Any]:
    """Run a model with performance counters; the mean of the lower half of each layer's times. Also gives the subject that ran.

    Raises:
        Diagnostic: E0504 when OpenVINO refuses the model.
    """
    from ..measure_openvino import openvino_subject

    subject = openvino_subject(source, feeds, threads, properties={"PERF_COUNT": "YES"})
    times: dict[str, list[float]] = {}
    kinds: dict[str, tuple[str, str]] = {}
    for number in range(runs + 1):
        subject.run()
        if number == 0:
            continue
        for item in subject.session.profiling_info:
            if str(item.status).endswith("EXECUTED"):
                times.setdefault(item.node_name, []).append(item.real_time.total_seconds())
                kinds[item.node_name] = (item.node_type, item.exec_type)
    layers = {kernel.name: kernel.sources for kernel in subject.schedule.kernels}
    events: list[Event] = []
    for name, values in times.items():
        half = sorted(values)[: max(len(values) // 2, 1)]
        op, implementation = kinds[name]
        seconds = sum(half) / len(half)
        events.append(Event(name, op, "kernel", None, seconds, "", layers.get(name, (name,)), {"implementation": implementation}))
    return Profile("openvino", tuple(events), runs), subject
