"""Profiles of TensorRT's ``trtexec``: layer times (``--exportProfile``) and the timeline of inferences (``--exportTimes``)."""

from __future__ import annotations

import json
from typing import Any

from ...ir.diagnostics import Diagnostic
from .timeline import E_PROFILE, Event, Kind, Profile

_PHASES: tuple[tuple[str, str, Kind], ...] = (
    ("H2d", "host to device", "copy"),
    ("Compute", "compute", "run"),
    ("D2h", "device to host", "copy"),
)


def read_trtexec(data: bytes, where: str = "") -> Profile:
    """Either file.

    Raises:
        Diagnostic: E0650.
    """
    try:
        entries = json.loads(data)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ValueError("the file holds no list of objects")
        if any("startComputeMs" in e for e in entries):
            return _times(entries)
        return _layers(entries)
    except (ValueError, KeyError, TypeError) as error:
        hint = "give the file of trtexec --exportProfile or --exportTimes"
        raise Diagnostic(E_PROFILE, f"this is no profile of trtexec: {error}", where, hint) from error


def _layers(entries: list[dict[str, Any]]) -> Profile:
    """Layers with the mean of all runs; ``{"count": n}`` comes first."""
    runs = next((int(e["count"]) for e in entries if "count" in e), 0)
    events: list[Event] = []
    for entry in entries:
        if "name" not in entry:
            continue
        if "averageMs" in entry:
            seconds = float(entry["averageMs"]) * 1e-3
        elif runs:
            seconds = float(entry["timeMs"]) * 1e-3 / runs
        else:
            raise ValueError(f"neither the mean time of '{entry['name']}' nor the number of runs is there")
        if seconds < 0:
            raise ValueError(f"'{entry['name']}' takes {seconds} s")
        details = {"median_seconds": float(entry["medianMs"]) * 1e-3} if "medianMs" in entry else {}
        name = str(entry["name"])
        kind: Kind = "copy" if name.startswith("Reformatting CopyNode") else "kernel"
        events.append(Event(name, "reformat" if kind == "copy" else "layer", kind, None, seconds, "", (), details))
    if not events:
        raise ValueError("it names no layer")
    return Profile("tensorrt", tuple(events), runs)


def _times(entries: list[dict[str, Any]]) -> Profile:
    """One entry per inference with the moments of its copies and its computation."""
    events: list[Event] = []
    for number, entry in enumerate(entries):
        for key, name, kind in _PHASES:
            if f"start{key}Ms" in entry:
                start, end = float(entry[f"start{key}Ms"]) * 1e-3, float(entry[f"end{key}Ms"]) * 1e-3
                if end < start:
                    raise ValueError(f"{name} of inference {number} ends before it begins")
                events.append(Event(name, key.lower(), kind, start, end - start, name))
        if "startEnqMs" in entry:
            start, end = float(entry["startEnqMs"]) * 1e-3, float(entry["endEnqMs"]) * 1e-3
            events.append(Event("enqueue", "enqueue", "other", start, max(end - start, 0.0), "host"))
    return Profile("tensorrt", tuple(sorted(events, key=lambda e: e.start or 0.0)), len(entries))
