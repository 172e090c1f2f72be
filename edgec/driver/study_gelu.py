"""`edgec study gelu`: the forms of GELU compiled and timed on this machine, with their errors."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.diagnostics import did_you_mean
from .arguments import usage_error
from .console import emit, quantity, table
from .cost_text import seconds_text
from .progress import stepping

if TYPE_CHECKING:
    from ..compiling import Compiled
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.hardware import Target
    from ..gelu_study import Form, GeluError
    from ..runtime.measure_subject import Subject

SCHEMA = "edgec.study-gelu/1"
BACKENDS = ("ort", "openvino")
AS_WRITTEN = "dead-code"  # a pipeline that recognises nothing
UNFUSED = "no fusion"  # ONNX Runtime with its own optimisations off: what a decomposition costs where nothing fuses it
OWN = "own fusion"
BUDGET_S = 0.04  # of one timing


@dataclass(frozen=True)
class Variant:
    """A form on a runtime.

    Attributes:
        backend: ``ort`` or ``openvino``.
        mode: whether the runtime fuses.
        form: of GELU.
        compiled: the bundle and the model that was lowered.
        subject: what is timed.
        error: against exact GELU, as the runtime computes it.
    """

    backend: str
    mode: str
    form: Form
    compiled: Compiled
    subject: Subject
    error: GeluError


def study_gelu(
    backends: Sequence[str] | None, target: str | None, rows: int, columns: int, threads: int, rounds: int, as_json: bool
) -> None:
    """Compile every form for every runtime, time them in turn, print errors, sizes, operators and medians.

    Args:
        backends: of `BACKENDS`; those that are installed when None.
        target: hardware or a calibrated file that predictions are made for.
        rows: of the tensor.
        columns: of the tensor.
        threads: of the runtimes.
        rounds: how often every form is timed.
        as_json: print the document.

    Raises:
        Diagnostic: E0801 for another backend, E0503 for one that is not installed, what opening the target raises.
    """
    from ..costmodel.analysis.subject import open_target
    from ..runtime.interleaved import interleave
    from ..runtime.measure import clock_of

    chosen = _backends(backends)
    machine = open_target(target) if target is not None else None
    with tempfile.TemporaryDirectory() as folder:
        variants = _variants(chosen, rows, columns, threads, Path(folder))
        with stepping("timing GELU") as step:
            runs = {i: variant.subject.run for i, variant in enumerate(variants)}
            timed = interleave(runs, clock_of(threads), rounds=rounds, budget_s=BUDGET_S, step=step)
        found = []
        for index, variant in enumerate(variants):
            base = next(i for i, v in enumerate(variants) if (v.backend, v.mode) == (variant.backend, variant.mode))  # exact, native
            seconds = {"median": timed[index].median, "least": timed[index].least, "quartiles": list(timed[index].quartiles)}
            relative = timed[index].median / timed[base].median
            found.append({**_facts(variant, machine), "seconds": seconds, "relative": relative})
    facts = {
        "schema": SCHEMA,
        "ok": True,
        "shape": [rows, columns],
        "threads": threads,
        "rounds": rounds,
        "hardware": target,
        "claims": _claims(found),
        "variants": found,
    }
    emit(facts, as_json, _text(facts))


def _backends(given: Sequence[str] | None) -> list[str]:
    from ..lowering.registry import backend

    if given is None:
        return [name for name in BACKENDS if backend(name).available() is None]
    for name in given:
        if name not in BACKENDS:
            raise usage_error(f"GELU is not studied on '{name}'", "--backend", did_you_mean(name, list(BACKENDS)))
        backend(name).require()
    return list(dict.fromkeys(given))


def _variants(backends: Sequence[str], rows: int, columns: int, threads: int, folder: Path) -> list[Variant]:
    import onnx

    from ..api import compile_with
    from ..gelu_study import error_of, forms
    from ..optimizing import Settings
    from ..runtime.bundle_subject import bundle_subject

    x = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    found = []
    for number, form in enumerate(forms(columns)):
        source = folder / f"{number}.onnx"
        onnx.save(form.model, source)
        for backend in backends:
            settings = Settings(target=backend, passes=AS_WRITTEN if form.keep else None)
            compiled = compile_with(source, settings, folder / f"{number}-{backend}")
            error = error_of(lambda line, run=compiled.bundle.run: run({"x": line})["y"], columns)
            for mode in (OWN, UNFUSED) if backend == "ort" else (OWN,):
                level = "disable" if mode == UNFUSED else None
                subject = bundle_subject(compiled.bundle, {"x": x}, threads, level)
                found.append(Variant(backend, mode, form, compiled, subject, error))
    return sorted(found, key=lambda v: (backends.index(v.backend), v.mode != OWN))


def _facts(variant: Variant, machine: Target | CalibratedTarget | None) -> dict[str, Any]:
    from ..costmodel.predict import Predictor

    files = variant.compiled.bundle.manifest["files"]
    operators = Counter(node.op.op_name for node in variant.compiled.result.model.graph.walk())
    kernels = Counter(kernel.op.rpartition(".")[2] for kernel in variant.subject.schedule.kernels)
    subject = variant.subject
    predicted = Predictor(subject.schedule, machine).predict(subject.bindings) if machine is not None else None
    return {
        "backend": variant.backend,
        "mode": variant.mode,
        "form": variant.form.name,
        "function": variant.form.function,
        "operators": dict(operators),
        "kernels": dict(kernels),
        "bytes": sum(entry["bytes"] for name, entry in files.items() if name != "debug.json"),
        "error": {
            "max_abs": variant.error.max_abs,
            "at": variant.error.at,
            "relative_l2": variant.error.relative_l2,
            "within_one_percent": variant.error.within_budget,
        },
        "predicted": list(predicted.seconds) if predicted is not None else None,
    }


def _claims(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is often said, beside what was measured: the time of a form relative to exact GELU as one operator, by runtime and mode."""
    said = (
        ("exact, spelled out", "a decomposition costs 10 to 15 %"),
        ("tanh, native", "fast GELU (tanh) saves 5 to 10 %"),
        ("sigmoid", "fast GELU (sigmoid) saves 5 to 10 % at a loss below 0.1 %"),
    )
    return [
        {
            "claim": text,
            "form": form,
            "measured": {f"{v['backend']}, {v['mode']}": v["relative"] - 1.0 for v in found if v["form"] == form},
            "relative_l2": max(v["error"]["relative_l2"] for v in found if v["form"] == form),
        }
        for form, text in said
    ]


def _text(facts: Mapping[str, Any]) -> str:
    rows = []
    for v in facts["variants"]:
        seconds, error = v["seconds"], v["error"]
        low, high = seconds["quartiles"]
        rows.append(
            (
                f"{v['backend']}, {v['mode']}",
                v["form"],
                _counted(v["operators"]),
                _counted(v["kernels"]),
                f"{error['max_abs']:.2e}",
                f"{error['at']:+.2f}" if error["max_abs"] > 1e-5 else "",
                f"{error['relative_l2']:.3%}" if error["max_abs"] > 1e-5 else "0 %",
                "yes" if error["within_one_percent"] else "no",
                quantity(v["bytes"], "B"),
                f"{seconds_text(seconds['median'])} [{seconds_text(low)}, {seconds_text(high)}]",
                f"{v['relative']:.2f}",
                seconds_text(v["predicted"][1]) if v["predicted"] else "",
            )
        )
    headings = (
        "runtime",
        "form",
        "operators",
        "kernels that run",
        "max error",
        "at",
        "norm",
        "< 1 %",
        "size",
        "median",
        "ratio",
        "predicted",
    )
    drop = 12 if facts["hardware"] else 11
    body = table(headings[:drop], [row[:drop] for row in rows], right=(4, 5, 6, 10))
    shape = "x".join(map(str, facts["shape"]))
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    lines = [f"GELU of float32 {shape}, {threads}, medians of {facts['rounds']} interleaved rounds with quartiles", "", body, ""]
    for claim in facts["claims"]:
        measured = ", ".join(f"{name} {change:+.0%}" for name, change in claim["measured"].items())
        lines.append(f"said: {claim['claim']}; measured: {measured}; error in the norm {claim['relative_l2']:.3%}")
    return "\n".join(lines)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
