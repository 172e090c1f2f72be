"""Measurements on disk: appended one by one, so that a calibration that was killed goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic, code

SCHEMA = "edgec.measurements/1"

E_STORE = code(
    "E1030",
    "the file of measurements cannot be used",
    "`edgec calibrate` keeps every measurement in a cache file so that it can go on after an interruption. This file is not one, or it was "
    "written on another machine, with another runtime or another number of threads. Give another --cache, or delete it.",
)


class Store:
    """Minimal seconds by key and round, in a file of JSON lines whose first line says what was measured.

    A last line that was cut off by a kill is dropped; damage anywhere else is refused.
    """

    def __init__(self, path: Path, setting: Mapping[str, Any]) -> None:
        """Open or begin the file.

        Args:
            path: where it lies.
            setting: backend, versions, threads, processor: measurements under another setting are not mixed in.

        Raises:
            Diagnostic: E1030.
        """
        self.path, self.setting = path, dict(setting)
        self.seconds: dict[tuple[str, int], float] = {}
        self.parts: dict[str, dict[str, float]] = {}
        kept = self._read() if path.exists() else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if kept:
            os.truncate(path, kept)
        else:
            path.write_text(json.dumps({"schema": SCHEMA, "setting": self.setting}) + "\n", encoding="utf-8")

    def _read(self) -> int:
        """Take over what the file holds; the bytes that are sound."""
        kept = 0
        lines = self.path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    self._check(entry)
                elif "parts" in entry:
                    self.parts[str(entry["key"])] = {str(name): _positive(value) for name, value in entry["parts"].items()}
                else:
                    self.seconds[str(entry["key"]), int(entry["round"])] = _positive(entry["seconds"])
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # a kill in the midst of a line
                    return kept
                raise Diagnostic(E_STORE, f"line {number} is damaged: {error}", str(self.path), "delete the file") from error
            if not line.endswith(b"\n"):
                return kept
            kept += len(line)
        return kept

    def _check(self, entry: Any) -> None:
        if not isinstance(entry, dict) or entry.get("schema") != SCHEMA:
            raise Diagnostic(E_STORE, f"its first line does not say {SCHEMA}", str(self.path), "give another --cache")
        if entry.get("setting") != self.setting:
            found = entry.get("setting") or {}
            differing = [k for k in {**self.setting, **found} if found.get(k) != self.setting.get(k)]
            message = "; ".join(f"{k} is {found.get(k)!r} there and {self.setting.get(k)!r} here" for k in sorted(differing))
            raise Diagnostic(E_STORE, message, str(self.path), "give another --cache, or delete the file")

    def add(self, key: str, number: int, seconds: float) -> None:
        """Keep a measurement."""
        self.seconds[key, number] = seconds
        self._append({"key": key, "round": number, "seconds": seconds})

    def add_parts(self, key: str, parts: Mapping[str, float]) -> None:
        """Keep the seconds of a graph's kernels by name, as the runtime's own counters have them."""
        self.parts[key] = dict(parts)
        self._append({"key": key, "parts": self.parts[key]})

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def best(self, key: str) -> float | None:
        """The least of all rounds."""
        found = [s for (k, _), s in self.seconds.items() if k == key]
        return min(found, default=None)

    def table(self) -> dict[str, float]:
        """The least of all rounds by key."""
        found: dict[str, float] = {}
        for (key, _), seconds in self.seconds.items():
            found[key] = min(seconds, found.get(key, seconds))
        return found


def _positive(seconds: Any) -> float:
    number = float(seconds)
    if not 0 < number < 1e6:
        raise ValueError(f"{seconds!r} is no time")
    return number
