"""Profiles of LiteRT's ``benchmark_model``: the CSV or text that it prints, and the binary form of ``--op_profiling_output_mode=proto``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...ir.diagnostics import Diagnostic
from .timeline import E_PROFILE, Event, Profile

_HINT = "give the file of benchmark_model --enable_op_profiling=true --profiling_output_csv_file=…"


def read_benchmark_model(data: bytes, where: str = "") -> Profile:
    """Any of the forms.

    Raises:
        Diagnostic: E0650.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _binary(data, where)
    if "\x00" in text or "node type" not in text.lower():
        return _binary(data, where)
    try:
        return _text(text)
    except (ValueError, KeyError, IndexError) as error:
        raise Diagnostic(E_PROFILE, f"this is no profile of benchmark_model: {error}", where, _HINT) from error


def _text(text: str) -> Profile:
    """The last table in run order: those before it are of initialisation."""
    tables: list[list[Event]] = []
    columns: Sequence[str] | None = None
    wanted = True
    for line in text.splitlines():
        stripped = line.strip()
        lowered = stripped.lower()
        if "=====" in stripped:
            wanted = "run order" in lowered
            columns = None
        elif "node type" in lowered and ("avg" in lowered):
            columns = [c.strip(" []").lower() for c in _cells(stripped)]
            if wanted:
                tables.append([])
        elif columns is not None and wanted and stripped:
            cells = _cells(stripped)
            if len(cells) < len(columns):
                columns = None
                continue
            tables[-1].append(_row(columns, cells))
        elif not stripped:
            columns = None
    found = next((t for t in reversed(tables) if any("Invoke" not in e.op for e in t)), [])
    if not found:
        raise ValueError("it holds no table of operators")
    return Profile("litert", tuple(found), 0)


def _cells(line: str) -> list[str]:
    if "[" in line and "]" in line and "\t" in line:
        return [c.strip() for c in line.split("\t") if c.strip()]
    if "," in line:
        head = [c.strip() for c in line.split(",")]
        return head
    return [c for c in re.split(r"\t+|\s{2,}", line.strip()) if c]


def _row(columns: Sequence[str], cells: Sequence[str]) -> Event:
    values = dict(zip(columns, cells, strict=False))
    rest = ",".join(cells[len(columns) - 1 :]) if len(cells) > len(columns) else cells[-1]
    average = next(v for k, v in values.items() if k.startswith("avg"))
    seconds = float(average.rstrip("%")) * 1e-3
    if seconds < 0:
        raise ValueError(f"'{rest}' takes {seconds} s")
    name, _, index = rest.strip(" []").partition("]:")
    return Event(
        name.strip() or values["node type"], values["node type"], "kernel", None, seconds, "", (), {"index": index} if index else {}
    )


def _binary(data: bytes, where: str) -> Profile:
    try:
        from importlib import import_module

        from google.protobuf.message import DecodeError

        messages: Any = import_module("ai_edge_litert.profiling_info_pb2")
    except ImportError as error:
        raise Diagnostic(E_PROFILE, "the binary form needs the package ai-edge-litert", where, "pip install edgec[tflite]") from error
    try:
        found = messages.BenchmarkProfilingData.FromString(data)
    except DecodeError as error:
        raise Diagnostic(E_PROFILE, f"this is no profile of benchmark_model: {error}", where, _HINT) from error
    events: list[Event] = []
    for lane, part in [
        *((s.subgraph_name or f"subgraph {s.subgraph_index}", s) for s in found.runtime_profile.subgraph_profiles),
        *((d.delegate_name, d) for d in found.runtime_profile.delegate_profiles),
    ]:
        for item in sorted(part.per_op_profiles, key=lambda o: o.run_order):
            seconds = item.inference_microseconds.avg * 1e-6
            events.append(Event(item.name.strip() or item.node_type, item.node_type, "kernel", None, seconds, lane))
    if not events:
        raise Diagnostic(E_PROFILE, "the profile holds no operator", where, _HINT)
    return Profile("litert", tuple(events))
