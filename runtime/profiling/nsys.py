"""Profiles of Nsight Systems: the SQLite export, and the CSV or JSON of ``nsys stats --report cuda_gpu_trace``.

Table and column names are those of NVIDIA's documentation of the SQLite schema.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from .occupancy import occupancy
from .timeline import E_PROFILE, Event, Profile

_COPIES = {1: "host to device", 2: "device to host", 8: "device to device", 10: "peer to peer"}  # CUpti_ActivityMemcpyKind
_PUSH_POP = 59  # NvtxPushPopRange


def read_nsys(path: str | Path) -> Profile:
    """A file of Nsight Systems.

    Raises:
        Diagnostic: E0650.
    """
    data = Path(path).read_bytes()
    try:
        if data.startswith(b"SQLite format 3"):
            return _sqlite(path)
        text = data.decode("utf-8")
        if text.lstrip().startswith(("[", "{")):
            rows = json.loads(text)
            return _trace(rows if isinstance(rows, list) else rows["data"])
        return _trace(list(csv.DictReader(io.StringIO(_table(text)))))
    except (sqlite3.Error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        hint = "give `nsys export --type sqlite`, or `nsys stats --report cuda_gpu_trace --format csv`"
        raise Diagnostic(E_PROFILE, f"this is no profile of Nsight Systems: {error}", str(path), hint) from error


# -- tables of nsys stats ----------------------------------------------------------------------------------------------
def _table(text: str) -> str:
    """The CSV without what nsys prints before it."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines + ["Start (ns)"]) if "Start (ns)" in line)
    return "\n".join(lines[start:])


def _trace(rows: Sequence[Mapping[str, Any]]) -> Profile:
    events: list[Event] = []
    for row in rows:
        name, start, seconds = str(row["Name"]), float(row["Start (ns)"]) * 1e-9, float(row["Duration (ns)"]) * 1e-9
        if seconds < 0:
            raise ValueError(f"'{name}' takes {seconds} s")
        lane = f"stream {row.get('Strm', '')}".strip()
        if name.startswith("[CUDA mem"):
            copied = row.get("Bytes (MB)")
            details = {"bytes": float(copied) * 1e6} if copied not in (None, "", "-") else {}
            events.append(Event(name, "copy", "copy", start, seconds, lane, (), details))
        else:
            details = {k: row[k] for k in ("GrdX", "GrdY", "GrdZ", "BlkX", "BlkY", "BlkZ", "Reg/Trd") if row.get(k) not in (None, "", "-")}
            events.append(Event(name, "kernel", "kernel", start, seconds, lane, (), details))
    if not events:
        raise ValueError("it holds no activity of the GPU")
    return Profile("cuda", tuple(sorted(events, key=lambda e: e.start or 0.0)))


# -- the database ------------------------------------------------------------------------------------------------------
def _sqlite(path: str | Path) -> Profile:
    connection = sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        texts = {row["id"]: row["value"] for row in connection.execute("SELECT id, value FROM StringIds")} if "StringIds" in tables else {}
        ranges = _Ranges(connection, tables, texts)
        capability = _capability(connection, tables)
        events: list[Event] = []
        if "CUPTI_ACTIVITY_KIND_KERNEL" in tables:
            events += [_kernel(row, texts, ranges, capability) for row in connection.execute("SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL")]
        if "CUPTI_ACTIVITY_KIND_MEMCPY" in tables:
            for row in connection.execute("SELECT * FROM CUPTI_ACTIVITY_KIND_MEMCPY"):
                kind = _COPIES.get(row["copyKind"], f"copy {row['copyKind']}")
                events.append(Event(kind, "copy", "copy", *_span(row), f"stream {row['streamId']}", (), {"bytes": row["bytes"]}))
        if "CUPTI_ACTIVITY_KIND_MEMSET" in tables:
            for row in connection.execute("SELECT * FROM CUPTI_ACTIVITY_KIND_MEMSET"):
                events.append(Event("set memory", "memset", "copy", *_span(row), f"stream {row['streamId']}", (), {"bytes": row["bytes"]}))
        if "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION" in tables:
            for row in connection.execute("SELECT * FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"):
                events.append(Event("synchronize", f"sync {row['syncType']}", "sync", *_span(row), "host"))
    finally:
        connection.close()
    if not events:
        raise ValueError("the database holds no activity of a GPU")
    return Profile("cuda", tuple(sorted(events, key=lambda e: e.start or 0.0)))


def _span(row: sqlite3.Row) -> tuple[float, float]:
    start, end = row["start"], row["end"]
    if end < start:
        raise ValueError("an activity ends before it begins")
    return start * 1e-9, (end - start) * 1e-9


def _kernel(row: sqlite3.Row, texts: Mapping[int, str], ranges: _Ranges, capability: tuple[int, int] | None) -> Event:
    keys = row.keys()
    name = texts.get(row["shortName"] if "shortName" in keys else row["demangledName"], "kernel")
    details: dict[str, Any] = {}
    if "demangledName" in keys:
        details["function"] = texts.get(row["demangledName"], name)
    if all(k in keys for k in ("blockX", "blockY", "blockZ", "registersPerThread", "staticSharedMemory", "dynamicSharedMemory")):
        threads = row["blockX"] * row["blockY"] * row["blockZ"]
        shared = row["staticSharedMemory"] + row["dynamicSharedMemory"]
        details |= {"threads_per_block": threads, "registers": row["registersPerThread"], "shared_bytes": shared}
        if "gridX" in keys:
            details["blocks"] = row["gridX"] * row["gridY"] * row["gridZ"]
        if capability is not None:
            try:
                details["occupancy"] = occupancy(capability, threads, row["registersPerThread"], shared).share
            except Diagnostic:  # an architecture whose limits are not known here
                capability = None
    layer = ranges.around(row["correlationId"]) if "correlationId" in keys else ""
    if layer:
        details["layer"] = layer
    return Event(layer or name, name, "kernel", *_span(row), f"stream {row['streamId']}", (), details)


def _capability(connection: sqlite3.Connection, tables: set[str]) -> tuple[int, int] | None:
    if "TARGET_INFO_GPU" not in tables:
        return None
    columns = {row["name"] for row in connection.execute("PRAGMA table_info(TARGET_INFO_GPU)")}
    if not {"computeMajor", "computeMinor"} <= columns:
        return None
    row = connection.execute("SELECT computeMajor, computeMinor FROM TARGET_INFO_GPU").fetchone()
    return (row[0], row[1]) if row is not None else None


class _Ranges:
    """NVTX ranges: TensorRT and others mark with them the layer in which a kernel was launched."""

    def __init__(self, connection: sqlite3.Connection, tables: set[str], texts: Mapping[int, str]) -> None:
        self.launches: dict[int, tuple[int, int]] = {}
        self.ranges: dict[int, list[tuple[int, int, str]]] = {}
        if not {"NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME"} <= tables:
            return
        for row in connection.execute("SELECT start, globalTid, correlationId FROM CUPTI_ACTIVITY_KIND_RUNTIME"):
            self.launches[row["correlationId"]] = (row["globalTid"], row["start"])
        for row in connection.execute("SELECT * FROM NVTX_EVENTS WHERE end IS NOT NULL ORDER BY start"):
            if "eventType" in row.keys() and row["eventType"] != _PUSH_POP:
                continue
            text = row["text"] or (texts.get(row["textId"], "") if "textId" in row.keys() else "")
            self.ranges.setdefault(row["globalTid"], []).append((row["start"], row["end"], text))

    def around(self, correlation: int) -> str:
        """The innermost range in which a kernel was launched; empty when there is none."""
        thread, moment = self.launches.get(correlation, (0, 0))
        found = self.ranges.get(thread, [])
        position = bisect_right(found, (moment, float("inf"), "")) - 1
        while position >= 0:
            start, end, text = found[position]
            if start <= moment <= end:
                return text
            position -= 1
        return ""
