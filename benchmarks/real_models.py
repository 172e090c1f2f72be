"""Every real model through a target: compiled, run, compared with ONNX Runtime on the original.

    python benchmarks/real_models.py --target openvino                 results/real_models_openvino.md
    python benchmarks/real_models.py --target tflite --bind NAME...    some models, for the sizes (and scalars) of their inputs
    python benchmarks/real_models.py --target coreml --resume          go on where the last run ended
    python benchmarks/real_models.py --target tflite --time            with the latency on one thread beside ONNX Runtime's
    python benchmarks/real_models.py --target coreml --approximate     what is refused is tried again with approximations permitted

Models and inputs are those of `zoo.py` and `exports.py`; each runs in a fresh process. The error of an output is the norm of the difference
divided by the norm of the original's output. Latencies are medians of interleaved runs. Exit status 1 when an output is wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
for _folder in (ROOT, HERE):
    sys.path.insert(0, str(_folder))
import peers  # noqa: E402

RESULTS = HERE / "results"
LIMIT = 1e-4
APPROXIMATE_LIMIT = 5e-2
INTEGER_SHARE = 1e-3
OUTCOMES = ("ok", "approximate", "refused", "wrong", "crash")
TIME_LIMIT_S = 1200
TIMED_RUNS = 30


def bindings(model: Any, feeds: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of a model's symbolic dimensions in some feeds."""
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        for dim, size in zip(value.shape or (), feeds[value.name].shape, strict=False):
            name = getattr(dim, "symbol_name", None)
            if name is not None:
                found[name] = int(size)
    return found


def frozen(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Integer scalars among the inputs, which choose a branch (a sampling rate), with their values in some feeds."""
    scalars = [value for value in model.graph.inputs if value.shape == () and feeds[value.name].dtype.kind == "i"]
    return {value.name: int(feeds[value.name]) for value in scalars}


def original(path: Path, feeds: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The original in ONNX Runtime on one thread, and its outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return session, dict(zip(names, session.run(None, dict(feeds)), strict=True))


def worst_error(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[float, str]:
    """The largest relative error of the outputs and the output that has it; infinity for another shape, element type or integer."""
    import numpy as np

    from edgec.runtime.compare import difference

    worst, where = 0.0, ""
    for name, reference in expected.items():
        other = actual[name]
        if other.shape != reference.shape or other.dtype != reference.dtype:
            return float("inf"), f"{name}: {other.dtype}{list(other.shape)} in place of {reference.dtype}{list(reference.shape)}"
        if reference.dtype.kind == "f":
            error = difference(reference, other).relative
        else:
            share = float(np.mean(reference != other)) if reference.size else 0.0
            error = 0.0 if share <= INTEGER_SHARE else float("inf")
        if not error <= worst:
            worst, where = error, name
    return worst, where


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compile one model in this process, run it, compare it."""
    import numpy as np

    import edgec
    from edgec.ir.diagnostics import Diagnostic

    path, feeds_path = peers.models()[name]
    with np.load(feeds_path) as archive:
        feeds = dict(archive)
    source = edgec.load(path)
    feeds = {value.name: feeds[value.name] for value in source.graph.inputs}
    session, expected = original(path, feeds)
    dims = bindings(source, feeds) if options.bind else {}
    freeze = frozen(source, feeds) if options.bind else {}
    given = dict(item.split("=", 1) for item in options.option)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        settings: dict[str, Any] = {"target": options.target, "dims": dims, "freeze": freeze, "options": given}
        refusal = ""
        bundle = None
        for approximate in (False, True) if options.approximate else (False,):
            try:
                began = time.perf_counter()
                bundle = edgec.compile(path, output=Path(folder) / "bundle", allow_approximate=approximate, **settings)
                break
            except Diagnostic as error:
                refusal = refusal or f"{error.code} {error.where}: {error.message}"
        if bundle is None:
            return {"outcome": "refused", "why": refusal}
        seconds = time.perf_counter() - began
        try:
            given_inputs = {name: array for name, array in feeds.items() if name not in freeze}
            actual = bundle.run(given_inputs)
        except Diagnostic as error:
            return {"outcome": "refused", "why": f"{error.code} {error.where}: {error.message}"}
        error, where = worst_error(expected, actual)
        limit = APPROXIMATE_LIMIT if refusal else LIMIT
        good = "approximate" if refusal else "ok"
        facts = {
            "outcome": good if error <= limit else "wrong",
            "error": float(f"{error:.3g}"),
            "why": where if error > limit else refusal,
            "bytes": sum(entry["bytes"] for entry in bundle.manifest["files"].values()),
            "seconds": round(seconds, 1),
            "losses": len(bundle.manifest["losses"]),
        }
        if options.time and error <= LIMIT:
            facts.update(_times(lambda: session.run(None, feeds), lambda: bundle.run(given_inputs)))
        return facts


def _times(reference: Any, other: Any) -> dict[str, float]:
    pairs: list[tuple[float, float]] = []
    for _ in range(TIMED_RUNS + 3):
        pair = []
        for call in (reference, other):
            began = time.perf_counter()
            call()
            pair.append(time.perf_counter() - began)
        pairs.append((pair[0], pair[1]))
    left, right = zip(*pairs[3:], strict=True)
    ratio = statistics.median(b / a for a, b in pairs[3:])
    return {"ort_ms": statistics.median(left) * 1e3, "ms": statistics.median(right) * 1e3, "ratio": ratio}


def _isolated(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a fresh process; a crash is an outcome."""
    command = [sys.executable, __file__, "--worker", name, "--target", options.target]
    command += ["--bind"] * options.bind + ["--approximate"] * options.approximate + ["--time"] * options.time
    command += [part for item in options.option for part in ("--option", item)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"outcome": "crash", "why": f"took more than {TIME_LIMIT_S} s"}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"outcome": "crash", "why": f"exit {done.returncode}: {lines[-1].strip()[:200] if lines else ''}"}
    return json.loads(done.stdout.splitlines()[-1])


def table(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> str:
    """The results as a Markdown page."""
    counts = {kind: sum(row["outcome"] == kind for row in found.values()) for kind in OUTCOMES}
    command = f"python benchmarks/real_models.py --target {options.target}" + " --bind" * options.bind
    command += " --approximate" * options.approximate + " --time" * options.time
    command += "".join(f" --option {item}" for item in options.option)
    lines = [f"# Real models through {options.target}", "", f"    {command}", ""]
    lines.append(f"{len(found)} models: " + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) + ".")
    lines.append(f"Error: norm of the difference over the norm of ONNX Runtime's output, the worst output; {LIMIT:g} counts as equal.")
    timed = [row["ratio"] for row in found.values() if "ratio" in row]
    if timed:
        lines.append(
            f"Latency on one thread over that of ONNX Runtime on the original: {statistics.geometric_mean(timed):.2f} (geometric mean)."
        )
    head = ["model", "outcome", "error", "size, MB", "compile, s"] + (["ORT, ms", "ms", "ratio"] if timed else []) + ["why"]
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in sorted(found.items()):
        size = f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else ""
        cells = [name, row["outcome"], str(row.get("error", "")), size, str(row.get("seconds", ""))]
        if timed:
            cells += [f"{row[key]:.2f}" if key in row else "" for key in ("ort_ms", "ms", "ratio")]
        lines.append("| " + " | ".join([*cells, str(row.get("why", "")).replace("|", "/")]) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names; all when none is given")
    parser.add_argument("--target", required=True)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the target")
    parser.add_argument("--bind", action="store_true", help="bind symbolic dimensions to the sizes of the inputs, freeze scalars")
    parser.add_argument("--approximate", action="store_true", help="try what is refused again with approximations permitted")
    parser.add_argument("--time", action="store_true", help="measure the latency too (quiet machine)")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the results file's JSON already has")
    parser.add_argument("--page", type=Path, metavar="FILE", help="where the table goes (default: results/real_models_TARGET.md)")
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker, options)))
        return 0
    available = peers.models()
    wanted = options.models or sorted(available)
    unknown = [name for name in wanted if name not in available]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    store = Path(tempfile.gettempdir()) / f"edgec-real-models-{options.target}{'-bound' * options.bind}.json"
    found: dict[str, Any] = json.loads(store.read_text()) if options.resume and store.exists() else {}
    for name in wanted:
        if options.resume and name in found and not options.models:
            continue
        found[name] = _isolated(name, options)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        store.write_text(json.dumps(found))
    if not options.models:
        page = options.page or RESULTS / f"real_models_{options.target}.md"
        page.write_text(table(found, options), encoding="utf-8")
    return 1 if any(row["outcome"] in ("wrong", "crash") for row in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
