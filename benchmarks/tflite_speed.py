"""Our .tflite beside onnx2tf's, ONNX Runtime and OpenVINO on every real model: one thread, interleaved runs in one process.

    python benchmarks/peers_onnx2tf.py --tool …/onnx2tf     once, in the environment that it names
    python benchmarks/tflite_speed.py                       results/tflite_speed.md
    python benchmarks/tflite_speed.py NAME... --runs 40     some models only

Every figure is the median over the runs; every ratio the median of the ratios of paired runs. onnx2tf's results are checked too: an output
counts as equal when, sorted, its numbers are those of ONNX Runtime within 1e-3 of their magnitude (its layouts differ).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for _folder in (HERE.parent, HERE):
    sys.path.insert(0, str(_folder))
import peers  # noqa: E402
import peers_onnx2tf  # noqa: E402
import real_models  # noqa: E402

RESULTS = HERE / "results"
WARM_UP = 3
TIME_LIMIT_S = 900
RUNTIMES = ("edgec", "onnx2tf", "ort", "openvino")


def litert(path: Path, feeds: Mapping[str, Any]) -> tuple[Callable[[], Any], Callable[[], list[Any]]]:
    """A function that runs a .tflite file once on feeds (in its own input layout), and one that gives its outputs."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    given = {name.replace(":", "_").replace("/", "_"): array for name, array in feeds.items()}
    left = list(feeds.values())
    for detail in interpreter.get_input_details():
        name = detail["name"].removeprefix("serving_default_").split(":")[0].replace("/", "_")
        array = given[name] if name in given else left[0]
        left = [other for other in left if other is not array] or left
        wanted = tuple(detail["shape"])
        if array.shape != wanted and array.ndim == len(wanted) and array.ndim > 2:
            array = np.moveaxis(array, 1, -1)
        if array.shape != wanted:
            interpreter.resize_tensor_input(detail["index"], array.shape)
        given[str(detail["index"])] = np.ascontiguousarray(array.astype(detail["dtype"]))
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], given[str(detail["index"])])
    return interpreter.invoke, lambda: [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def same_numbers(expected: list[Any], actual: list[Any]) -> bool:
    """Whether the outputs hold the same numbers, in whatever layout and order."""
    import numpy as np

    def key(array: Any) -> tuple[int, float]:
        return array.size, float(np.abs(array.astype(np.float64)).sum())

    if sorted(a.size for a in expected) != sorted(a.size for a in actual):
        return False
    for a, b in zip(sorted(expected, key=key), sorted(actual, key=key), strict=True):
        x, y = (np.sort(v.astype(np.float64).reshape(-1)) for v in (a, b))
        if x.size and not np.abs(x - y).max() <= 1e-3 * max(float(np.abs(x).max()), 1e-6):
            return False
    return True


def measure(name: str, runs: int) -> dict[str, Any]:
    """All runtimes on one model, in this process."""
    import numpy as np

    import edgec

    path, feeds_path = peers.models()[name]
    with np.load(feeds_path) as archive:
        feeds = dict(archive)
    source = edgec.load(path)
    feeds = {value.name: feeds[value.name] for value in source.graph.inputs}
    session, expected = real_models.original(path, feeds)
    reference = list(expected.values())
    dims, freeze = real_models.bindings(source, feeds), real_models.frozen(source, feeds)
    calls: dict[str, Callable[[], Any]] = {"ort": lambda: session.run(None, feeds)}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in ("tflite", "openvino"):
            try:
                bundle = edgec.compile(path, target=target, output=Path(folder) / target, dims=dims, freeze=freeze, options={"threads": 1})
            except edgec.Diagnostic as error:
                facts[f"{target}_refused"] = f"{error.code}: {error.message}"[:160]
                continue
            kept = {spec.name: feeds[spec.name] for spec in bundle.signature.inputs}
            if target == "openvino":
                calls["openvino"] = lambda bundle=bundle, kept=kept: bundle.run(kept)
                continue
            file = next(Path(folder).glob("tflite/*.tflite"))
            facts["bytes"] = file.stat().st_size
            calls["edgec"], outputs = litert(file, kept)
            calls["edgec"]()
            facts["edgec_agrees"] = same_numbers(reference, outputs())
        peer = peers_onnx2tf.folder() / f"{name}.tflite"
        if peer.exists():
            try:
                calls["onnx2tf"], outputs = litert(peer, feeds)
                calls["onnx2tf"]()
                facts["onnx2tf_agrees"] = same_numbers(reference, outputs())
            except (RuntimeError, ValueError) as error:
                calls.pop("onnx2tf", None)
                facts["onnx2tf_fails"] = str(error).splitlines()[0][:160]
        return {**facts, **_interleaved(calls, runs)}


def _interleaved(calls: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs + WARM_UP):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - began) * 1e3)
    kept = {name: values[WARM_UP:] for name, values in times.items()}
    found: dict[str, Any] = {name: round(statistics.median(values), 3) for name, values in kept.items()}
    if "edgec" in kept:
        for other in kept.keys() - {"edgec"}:
            ratios = [a / b for a, b in zip(kept["edgec"], kept[other], strict=True)]
            found[f"over_{other}"] = round(statistics.median(ratios), 3)
    return found


def table(found: Mapping[str, Mapping[str, Any]], runs: int) -> str:
    """The results as a Markdown page."""
    both = [row for row in found.values() if "over_onnx2tf" in row]
    lines = ["# Speed of our .tflite files", "", "    python benchmarks/tflite_speed.py", ""]
    lines.append(f"One thread, medians of {runs} interleaved runs; ratios are ours over theirs, medians of paired runs.")
    lines.append("Both .tflite files run in LiteRT with XNNPACK; `differs` marks onnx2tf results that are not the model's.")
    if both:
        ratios = [row["over_onnx2tf"] for row in both]
        lines.append(
            f"Over onnx2tf: {statistics.geometric_mean(ratios):.3f} (geometric mean of {len(both)} models), largest {max(ratios):.2f}."
        )
    nearest = [max(row.get("over_ort", 0), row.get("over_openvino", 0)) for row in found.values() if "over_ort" in row]
    if nearest:
        lines.append(
            f"Over the faster of ONNX Runtime and OpenVINO: {statistics.geometric_mean(nearest):.3f} (geometric mean of {len(nearest)})."
        )
    head = ("model", "edgec, ms", "onnx2tf, ms", "ORT, ms", "OpenVINO, ms", "over onnx2tf", "over ORT", "over OpenVINO", "note")
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in sorted(found.items()):
        notes = ["onnx2tf differs"] if row.get("onnx2tf_agrees") is False else []
        notes += ["WE differ"] if row.get("edgec_agrees") is False else []
        notes += [str(row[key]) for key in ("onnx2tf_fails", "tflite_refused", "error") if key in row]
        cells = [name, *(f"{row[key]:.2f}" if key in row else "" for key in RUNTIMES)]
        cells += [f"{row[key]:.2f}" if key in row else "" for key in ("over_onnx2tf", "over_ort", "over_openvino")]
        lines.append("| " + " | ".join([*cells, "; ".join(notes).replace("|", "/")]) + " |")
    return "\n".join(lines) + "\n"


def _isolated(name: str, runs: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", name, "--runs", str(runs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {TIME_LIMIT_S} s"}
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return {"error": f"exit {done.returncode}: {lines[-1][:160] if lines else ''}"}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker, options.runs)))
        return 0
    found: dict[str, Any] = {}
    for name in options.models or sorted(peers.models()):
        found[name] = _isolated(name, options.runs)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    if not options.models:
        (RESULTS / "tflite_speed.md").write_text(table(found, options.runs), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
