"""ONNX Runtime's own profiler: running it, and reading the file that it writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from .timeline import E_PROFILE, Event, Profile

_KERNEL, _FENCES = "_kernel_time", ("_fence_before", "_fence_after")


def profile_ort(
    source: str | Path,
    feeds: Mapping[str, Any],
    *,
    runs: int = 10,
    threads: int = 1,
    level: str = "all",
    sizes: Mapping[str, int] | None = None,
) -> Profile:
    """Run a model with the profiler on; the first run, which allocates, is left out. See `measure_ort.ort_subject` for the arguments.

    Raises:
        Diagnostic: E1017 when the runtime refuses the model.
    """
    from ..measure_ort import ort_subject

    with tempfile.TemporaryDirectory() as folder:
        subject = ort_subject(source, feeds, threads, level, Path(folder) / "profile", sizes)
        for _ in range(runs + 1):
            subject.run()
        written = Path(subject.session.end_profiling())
        found = read_ort(written.read_bytes(), str(source))
    return _without_first(found)


def read_ort(data: bytes, where: str = "") -> Profile:
    """The file of the profiler.

    Raises:
        Diagnostic: E0650.
    """
    try:
        entries = json.loads(data)
        if not isinstance(entries, list):
            raise ValueError("the file holds no list of events")
        events: list[Event] = []
        runs = 0
        for entry in entries:
            if entry.get("ph") != "X":
                continue
            name, category, arguments = str(entry["name"]), str(entry.get("cat", "")), entry.get("args") or {}
            start, seconds = float(entry["ts"]) * 1e-6, float(entry["dur"]) * 1e-6
            if seconds < 0:
                raise ValueError(f"'{name}' takes {entry['dur']} µs")
            lane = f"thread {entry.get('tid', 0)}"
            if category == "Node" and name.endswith(_KERNEL):
                details = {k: arguments[k] for k in ("provider", "input_type_shape", "output_type_shape", "node_index") if k in arguments}
                op = str(arguments.get("op_name", ""))
                events.append(Event(name.removesuffix(_KERNEL), op, "kernel", start, seconds, lane, (), details))
            elif category == "Node" and name.endswith(_FENCES):
                events.append(Event(name, "fence", "sync", start, seconds, lane))
            elif category == "Session":
                whole = name == "model_run"
                runs += whole
                events.append(Event(name, "session", "run" if whole else "other", start, seconds, lane))
            else:
                events.append(
                    Event(
                        name, str(arguments.get("op_name", category)), "kernel" if category == "Kernel" else "other", start, seconds, lane
                    )
                )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Diagnostic(E_PROFILE, f"this is no profile of ONNX Runtime: {error}", where, "give the JSON file of the profiler") from error
    if not any(e.kind == "kernel" for e in events):
        raise Diagnostic(E_PROFILE, "the profile holds no node", where, "run the model at least once before end_profiling()")
    return Profile("onnxruntime", tuple(sorted(events, key=lambda e: e.start or 0.0)), runs)


def _without_first(profile: Profile) -> Profile:
    """What came after the first run."""
    starts = [e.start for e in profile.events if e.kind == "run"]
    if len(starts) < 2:
        return profile
    begin = starts[1] or 0.0
    kept = [e for e in profile.events if e.kind != "other" and (e.start or 0.0) >= begin]
    return Profile(profile.runtime, tuple(kept), profile.runs - 1, profile.notes)


def least_by_node(profile: Profile) -> dict[str, float]:
    """The least seconds of every kernel, by name, in order of first appearance; those with nested bodies keep their own time only.

    The profiler counts whole microseconds, which takes half a microsecond from every kernel on average: it is put back.
    """
    found: dict[str, list[float]] = {}
    for event in profile.events:
        if event.kind == "kernel":
            found.setdefault(event.name, []).append(event.seconds)
    return {name: _settled(times) for name, times in found.items()}


def _settled(times: list[float]) -> float:
    """The mean of the lower half: minima of numbers in whole microseconds are too coarse for short kernels."""
    ordered = sorted(times)
    half = ordered[: max(len(ordered) // 2, 1)]
    return sum(half) / len(half) + 0.5e-6
