"""Profiles of whatever runtime in one form, and their Chrome trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...ir.diagnostics import code
from ...ir.serial.atomic import writing

Kind = Literal["kernel", "copy", "sync", "run", "other"]
SCHEMA = "edgec.profile/1"

E_PROFILE = code(
    "E0650",
    "the profile cannot be read",
    "The file is damaged, cut off, or of another format than --format says. Known formats: ort (the JSON file of ONNX Runtime's profiler), "
    "trtexec (--exportProfile or --exportTimes), nsys (an SQLite export, or the JSON or CSV of nsys stats and export), litert "
    "(the CSV or JSON of benchmark_model).",
)
E_UNPROFILED = code(
    "E0651",
    "the bundle cannot be profiled",
    "Profiling runs the bundle on this machine; that is possible for bundles of ort, openvino and tflite. Profiles from other devices are "
    "read with --import.",
)


@dataclass(frozen=True)
class Event:
    """Something that took time.

    Attributes:
        name: as the runtime calls it.
        op: the operator or what kind of activity.
        kind: what it is.
        start: seconds since the beginning; None when the profile holds totals only.
        seconds: how long; of one run when totals were averaged.
        lane: stream, queue or thread.
        sources: nodes of the imported model that it computes.
        details: what else the profile says.
    """

    name: str
    op: str
    kind: Kind
    start: float | None
    seconds: float
    lane: str = ""
    sources: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """What a runtime's profiler recorded.

    Attributes:
        runtime: which.
        events: in the order of their start, or of the file.
        runs: how many inferences it covers; 0 when unknown.
        notes: what a reader should know.
    """

    runtime: str
    events: tuple[Event, ...]
    runs: int = 0
    notes: tuple[str, ...] = ()

    def totals(self) -> dict[str, float]:
        """Seconds by kind of event, of all runs together; the spans of whole runs are left out."""
        found: dict[str, float] = {}
        for event in self.events:
            if event.kind != "run":
                found[event.kind] = found.get(event.kind, 0.0) + event.seconds
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        events = [
            {"name": e.name, "op": e.op, "kind": e.kind, "start": e.start, "seconds": e.seconds, "lane": e.lane, "sources": list(e.sources)}
            | ({"details": dict(e.details)} if e.details else {})
            for e in self.events
        ]
        totals = self.totals()
        return {"schema": SCHEMA, "runtime": self.runtime, "runs": self.runs, "totals": totals, "events": events, "notes": list(self.notes)}


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """The events as Chrome, Perfetto and speedscope read them; totals without a start are laid end to end.

    Microseconds; one lane per stream.
    """
    lanes = {lane: i + 1 for i, lane in enumerate(dict.fromkeys(e.lane for e in profile.events))}
    found: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": profile.runtime}},
        *({"name": "thread_name", "ph": "M", "pid": 1, "tid": i, "args": {"name": lane or "kernels"}} for lane, i in lanes.items()),
    ]
    clock = dict.fromkeys(lanes, 0.0)
    for event in profile.events:
        start = event.start if event.start is not None else clock[event.lane]
        clock[event.lane] = start + event.seconds
        arguments = {"op": event.op, **({"source": ", ".join(event.sources)} if event.sources else {}), **event.details}
        entry = {"name": event.name, "cat": event.kind, "ph": "X", "pid": 1, "tid": lanes[event.lane]}
        found.append({**entry, "ts": round(start * 1e6, 3), "dur": round(event.seconds * 1e6, 3), "args": arguments})
    return {"traceEvents": found, "displayTimeUnit": "ms"}


def write_trace(profile: Profile, path: str | Path) -> None:
    """Write the Chrome trace, atomically."""
    with writing(Path(path)) as (file,):
        file.write(json.dumps(chrome_trace(profile), indent=None, sort_keys=False, allow_nan=False).encode())


def with_sources(profile: Profile, nodes: Mapping[str, Sequence[str]]) -> Profile:
    """The profile with the source nodes that a bundle's debug table gives for the runtime's names."""
    events: list[Event] = []
    for event in profile.events:
        names = sources_of(event.name, nodes) if event.kind == "kernel" and not event.sources else event.sources
        events.append(Event(event.name, event.op, event.kind, event.start, event.seconds, event.lane, tuple(names), event.details))
    return Profile(profile.runtime, tuple(events), profile.runs, profile.notes)


def sources_of(name: str, nodes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Source nodes of a runtime's layer: its own name, or the names that fusion joined in it with ``+``, commas, spaces or suffixes."""
    if name in nodes:
        return tuple(nodes[name])
    found: dict[str, None] = {}
    for part in _parts(name):
        for candidate in (part, part.rpartition("_")[0], part.partition("/")[0], part.partition(":")[0]):
            if candidate in nodes:
                found.update(dict.fromkeys(nodes[candidate]))
                break
    return tuple(found)


def _parts(name: str) -> Iterable[str]:
    text = name
    for separator in (" + ", "+", ", ", ",", ";", "||", "{", "}", "(", ")", "[", "]", " "):
        text = text.replace(separator, "\n")
    return [part for part in text.splitlines() if part]
