"""The command compile for several targets: the table that compares them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comparison import FILE, Comparison, Entry, compile_targets
from ..ir.diagnostics import Exit
from ..optimizing import Settings
from ..passes.observers import Timing
from .arguments import usage_error
from .console import emit, quantity, render, say, table
from .progress import Progress, working

HEADINGS = ("target", "size", "operators", "transposes", "error", "within", "latency", "energy", "losses", "fallbacks")


def target_list(text: str) -> list[str]:
    """``tflite,coreml`` as names, each once.

    >>> target_list("tflite, coreml,tflite")
    ['tflite', 'coreml']
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise usage_error(f"'{text}' names no target", "--target", "`edgec targets` lists them")
    return names


def compile_for_several(
    model: Path,
    output: Path,
    settings: Settings,
    targets: Sequence[str],
    *,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    hardware: str | None,
    report: bool,
    as_json: bool,
) -> int:
    """Compile for several targets, print the table; gives the exit status."""
    from ..prediction import predictor

    timing = Timing()
    began = time.perf_counter()
    with working(f"compiling {model.name}") as status:
        settings.observers = [timing, Progress(status)]
        tell = status.update if status is not None else lambda text: None
        predict = predictor(hardware)
        found = compile_targets(model, settings, targets, output, dims=dims, freeze=freeze, predict=predict, progress=tell)
    for error in found.failures.values():
        say(render(error))
    facts = {
        **found.to_json(),
        "schema": "edgec.compile-targets/1",
        "input": str(model),
        "output": str(output),
        "hardware": hardware,
        "seconds": round(time.perf_counter() - began, 3),
    }
    lines = [f"{output}: {len(found.bundles)} of {len(found.entries)} bundles, {FILE}", "", comparison_table(found)]
    assumed = next((e.facts["predicted"]["assumed"] for e in found.entries.values() if (e.facts.get("predicted") or {}).get("assumed")), {})
    if assumed:
        sizes = ", ".join(f"{name} = {size}" for name, size in assumed.items())
        lines.append(f"latency and energy for {sizes}; --dim NAME=SIZE binds them")
    if report:
        lines += ["", timing.table()]
    emit(facts, as_json, "\n".join(lines))
    return int(Exit.TARGET_REFUSED) if found.failures else 0


def comparison_table(found: Comparison) -> str:
    """The targets side by side."""
    rows = [_cells(entry) for entry in found.entries.values()]
    used = [i for i, _ in enumerate(HEADINGS) if i < 6 or any(row[i] for row in rows)]
    return table([HEADINGS[i] for i in used], [[row[i] for i in used] for row in rows], right=[n for n, i in enumerate(used) if 0 < i < 5])


def _cells(entry: Entry) -> list[str]:
    if entry.failure is not None:
        code = getattr(entry.failure, "reason_code", "")
        what = f"refused: {entry.failure.code}{f', {code}' if code else ''}"
        return [entry.target, "", "", "", "", what, "", "", "", ""]
    facts = entry.facts
    check, predicted = facts["verified"], facts["predicted"] or {}
    within = {None: f"not run: {check['reason']}", True: "yes", False: f"NO, above {check['tolerance']}"}[check["passed"]]
    latency, energy = predicted.get("latency_s"), predicted.get("energy_j")
    return [
        entry.target,
        quantity(facts["bytes"], "B"),
        str(facts["operators"]),
        str(facts["transposes"]),
        "" if check["worst"] is None else str(check["worst"]),
        within,
        "" if latency is None else f"{latency * 1e3:.3g} ms",
        "" if energy is None else f"{energy * 1e3:.3g} mJ",
        ", ".join(f"{kind} {times}" for kind, times in facts["losses"].items()),
        ", ".join(f"{rung} {times}" for rung, times in facts["fallbacks"].items()),
    ]
