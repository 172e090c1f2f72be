"""What other graph simplifiers leave of each model, at what cost, and whether it still computes the same.

Needs an environment with `onnx`, `onnxruntime`, `onnxsim`, `onnxslim`, `onnxoptimizer` and `onnxscript`.
Every tool runs on every model in a fresh process; each measurement is kept as one JSON file under
`<cache>/peers`, so that an interrupted run goes on where it stopped.

    python benchmarks/peers.py                     all models: benchmarks/results/peers_nodes.{md,json}
    python benchmarks/peers.py NAME... --json      some models, measurements to standard output
    python benchmarks/peers.py --timings           on a quiet machine: benchmarks/results/peers_timings.md

Counts take in subgraphs and functions. `operators` leaves out Constant nodes, which are another
spelling of initializers; it is the number that the tables compare.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import exports  # noqa: E402
import zoo  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
TOOLS = ("onnxsim", "onnxslim", "onnxoptimizer", "onnxscript")
TIME_LIMIT_S = 1200
# Largest difference allowed, relative to the largest magnitude of the original's output.
RELATIVE_TOLERANCE = 1e-3
FAILED = "exit code"
# A result this many bytes larger than its source has been inflated by folding.
GROWTH_LIMIT = 2**20


def models() -> dict[str, tuple[Path, Path]]:
    """Every model to measure: name to model file and feeds. Of the exports, those made and not external."""
    found = {name: (zoo.path(name), zoo.inputs_path(name)) for name in zoo.names()}
    for name, recipe in exports.RECIPES.items():
        file = exports.path(name)
        if file.exists() and recipe.storage == "inline":
            found[name] = (file, file.with_suffix(".npz"))
    return found


def count(model: Any) -> dict[str, int]:
    """Count the nodes of a ModelProto.

    Returns:
        `nodes`, all of them with subgraphs and functions, and `operators`, those that are not Constant.
    """
    nodes = constants = 0
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        for node in pending.pop().node:
            nodes += 1
            constants += node.op_type == "Constant"
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)
    return {"nodes": nodes, "operators": nodes - constants}


def _simplifier(tool: str) -> Callable[[Any], Any]:
    """The tool's default simplification, ModelProto to ModelProto, with its package imported."""
    if tool == "onnxsim":
        import onnxsim

        return lambda model: onnxsim.simplify(model)[0]
    if tool == "onnxslim":
        import onnxslim

        return onnxslim.slim
    if tool == "onnxoptimizer":
        import onnxoptimizer

        return lambda model: onnxoptimizer.optimize(model, fixed_point=True)
    import onnxscript.optimizer

    return onnxscript.optimizer.optimize


def simplify(tool: str, source: Path, target: Path) -> dict[str, Any]:
    """Simplify one model in this process and save it.

    Returns:
        Counts, CPU seconds of the call and of the process so far, peak resident memory in MiB, and the
        bytes of the model before and after.
    """
    import onnx

    run = _simplifier(tool)
    model = onnx.load(source)
    size = model.ByteSize()
    started = time.process_time()
    result = run(model)
    seconds = time.process_time() - started
    process_seconds = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    onnx.save(result, target)
    return {
        **count(result),
        "cpu_s": round(seconds, 3),
        "process_cpu_s": round(process_seconds, 3),
        "peak_mib": round(peak, 1),
        "bytes_before": size,
        "bytes_after": result.ByteSize(),
        "opset": {item.domain: item.version for item in result.opset_import},
    }


def compare(first: Path, second: Path, feeds_file: Path) -> dict[str, Any]:
    """Run two models on the same feeds, without ONNX Runtime's own optimisations.

    Returns:
        `difference`, the largest over the outputs, relative to the largest magnitude of the first
        model's output, and `matches`.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with np.load(feeds_file) as archive:
        feeds = dict(archive)
    results = []
    for file in (first, second):
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        wanted = {value.name: feeds[value.name] for value in session.get_inputs()}
        results.append(dict(zip(names, session.run(None, wanted), strict=True)))
        del session
    if list(results[0]) != list(results[1]):
        return {"difference": None, "matches": False, "error": "the outputs have other names"}
    worst = 0.0
    for name, expected in results[0].items():
        actual = results[1][name]
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            return {"difference": None, "matches": False, "error": f"{name}: another shape or dtype"}
        if expected.size:
            scale = max(float(np.abs(expected).max()), 1e-6)
            gap = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max() / scale
            worst = max(worst, float(gap))
    # Written so that NaN does not match.
    return {"difference": float(f"{worst:.2g}"), "matches": bool(worst <= RELATIVE_TOLERANCE)}


def _worker(*arguments: str) -> dict[str, Any]:
    """Run a step of this file in a fresh process; a failure comes back as {"error": …}."""
    command = [sys.executable, __file__, "--worker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {TIME_LIMIT_S} s"}
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return {"error": f"{FAILED} {done.returncode}: {lines[-1].strip()[:300] if lines else ''}"}
    return json.loads(done.stdout.splitlines()[-1])


def measure(tool: str, name: str, source: Path, feeds: Path, *, timed: bool, repeat: int) -> dict[str, Any]:
    """One measurement of a tool on a model, from the cache when the same one is there.

    Args:
        tool: one of TOOLS.
        name: the model's name, for the cache.
        source: the model file.
        feeds: sample feeds for the comparison.
        timed: True for figures taken on a quiet machine; a cached measurement without is repeated.
        repeat: runs of which the least CPU seconds and the least peak count.
    """
    state = source.stat()
    key = [importlib.metadata.version(tool), state.st_size, state.st_mtime_ns]
    record = zoo.cache() / "peers" / f"{name}.{tool}.json"
    if record.exists():
        kept = json.loads(record.read_text())
        if kept["key"] == key and (kept["timed"] or not timed):
            return kept["result"]
    with tempfile.TemporaryDirectory(prefix="edgec-peers-") as folder:
        target = Path(folder) / "out.onnx"
        result = _worker("simplify", tool, str(source), str(target))
        for _ in range(repeat - 1 if "error" not in result else 0):
            again = _worker("simplify", tool, str(source), str(target))
            for figure in ("cpu_s", "process_cpu_s", "peak_mib"):
                result[figure] = min(result[figure], again.get(figure, result[figure]))
        if "error" not in result:
            result.update({"matches": False, **_worker("compare", str(source), str(target), str(feeds))})
    zoo.write_atomically(record, json.dumps({"key": key, "timed": timed, "result": result}).encode())
    return result


def survey(wanted: list[str], *, timed: bool, repeat: int) -> dict[str, Any]:
    """Measure every tool on each wanted model.

    Returns:
        Model name to `original` (counts), `tools` (measurements), `best`: the fewest operators among the
        tools whose result still computes the same, with the tool's name, the original if none does; and
        `best_compact`: the same among the results that folding has not inflated.
    """
    import onnx

    available = models()
    found: dict[str, Any] = {}
    for name in wanted:
        source, feeds = available[name]
        original = count(onnx.load(source, load_external_data=False))
        tools: dict[str, Any] = {}
        for tool in TOOLS:
            tools[tool] = measure(tool, name, source, feeds, timed=timed, repeat=repeat)
            outcome = tools[tool].get("operators", tools[tool].get("error"))
            print(f"{name} {tool} {original['operators']} -> {outcome}", file=sys.stderr, flush=True)
        compact = {tool: result for tool, result in tools.items() if _growth(result) <= GROWTH_LIMIT}
        found[name] = {
            "original": original,
            "best": _best(original, tools),
            "best_compact": _best(original, compact),
            "tools": tools,
        }
    return found


def _growth(result: dict[str, Any]) -> int:
    """Bytes that a result is larger than its source; 0 when there is no result."""
    return result.get("bytes_after", 0) - result.get("bytes_before", 0)


def _best(original: dict[str, int], tools: dict[str, Any]) -> dict[str, Any]:
    best: dict[str, Any] = {"tool": "original", **original}
    for tool, result in tools.items():
        if result.get("matches") and result["operators"] < best["operators"]:
            best = {"tool": tool, "nodes": result["nodes"], "operators": result["operators"]}
    return best


def _cell(result: dict[str, Any], best: int, text: str) -> str:
    if "operators" not in result:
        return "fails"
    if not result.get("matches"):
        text += ", does not run" if result.get("error", "").startswith(FAILED) else ", wrong"
    elif result["operators"] == best:
        text = f"**{text}**"
    growth = _growth(result)
    return f"{text} (+{growth / 2**20:.0f} MiB)" if growth > GROWTH_LIMIT else text


def nodes_table(found: dict[str, Any]) -> str:
    """Markdown table of the operators left."""
    lines = [
        "# Operators that other simplifiers leave",
        "",
        "`python benchmarks/peers.py`; subgraphs included, Constant nodes left out. Bold: fewest among the",
        "results that still compute the same on the sample feeds; the last column compares that with the",
        "original. In brackets: by how much the result is larger than the file. A tool's mean counts a failure or a",
        "wrong result as nothing saved.",
        "",
        "Versions: " + ", ".join(f"{tool} {importlib.metadata.version(tool)}" for tool in TOOLS) + ".",
        "",
        f"| model | original | {' | '.join(TOOLS)} | best ÷ original |",
        "|---|---:|" + "---:|" * (len(TOOLS) + 1),
    ]
    for name, row in found.items():
        best, original = row["best"]["operators"], row["original"]["operators"]
        cells = [_cell(row["tools"][tool], best, str(row["tools"][tool].get("operators"))) for tool in TOOLS]
        lines.append(f"| {name} | {original} | {' | '.join(cells)} | {best / original:.2f} |")
    mean = _geometric_mean([row["best"]["operators"] / row["original"]["operators"] for row in found.values()])
    lines.append(f"| geometric mean, {len(found)} models | | {' | '.join(_means(found))} | {mean:.3f} |")
    return "\n".join(lines) + "\n"


def _means(found: dict[str, Any]) -> list[str]:
    """Each tool's geometric mean of operators left over operators given; failures count as nothing saved."""
    means = []
    for tool in TOOLS:
        ratios = []
        for row in found.values():
            result, original = row["tools"][tool], row["original"]["operators"]
            ratios.append(result["operators"] / original if result.get("matches") else 1.0)
        means.append(f"{_geometric_mean(ratios):.3f}")
    return means


def _geometric_mean(values: list[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else 1.0


def timings_table(found: dict[str, Any]) -> str:
    """Markdown table of CPU seconds of the call, of the process, and of peak memory."""
    lines = [
        "# CPU time and memory of other simplifiers",
        "",
        "`python benchmarks/peers.py --timings` on a quiet machine. CPU seconds of the simplifying call · of",
        "the whole process with imports and loading · peak MiB of the process.",
        "",
        f"| model | {' | '.join(TOOLS)} |",
        "|---|" + "---|" * len(TOOLS),
    ]
    for name, row in found.items():
        cells = []
        for tool in TOOLS:
            result = row["tools"][tool]
            fields = ("cpu_s", "process_cpu_s", "peak_mib")
            cells.append(" · ".join(f"{result[field]:.4g}" for field in fields) if "cpu_s" in result else "fails")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_results(found: dict[str, Any], *, timed: bool) -> None:
    """Write the tables, and the best counts as JSON, to `benchmarks/results`."""
    kept = ("original", "best", "best_compact")
    best = {name: {field: row[field] for field in kept} for name, row in sorted(found.items())}
    zoo.write_atomically(RESULTS / "peers_nodes.json", (json.dumps(best, indent=1) + "\n").encode())
    zoo.write_atomically(RESULTS / "peers_nodes.md", nodes_table(found).encode())
    if timed:
        zoo.write_atomically(RESULTS / "peers_timings.md", timings_table(found).encode())


def main() -> int:
    """Run the command line."""
    if sys.argv[1:2] == ["--worker"]:
        step, *rest = sys.argv[2:]
        if step == "simplify":
            report = simplify(rest[0], Path(rest[1]), Path(rest[2]))
        else:
            report = compare(Path(rest[0]), Path(rest[1]), Path(rest[2]))
        print(json.dumps(report))
        return 0
    parser = argparse.ArgumentParser(description="Compare graph simplifiers on real models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all models when none is given")
    parser.add_argument("--json", action="store_true", help="measurements to standard output as JSON")
    parser.add_argument("--timings", action="store_true", help="measure again for CPU time and memory")
    parser.add_argument("--repeat", type=int, default=1, help="runs of which the best counts")
    options = parser.parse_args()
    known = models()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"unknown or not exported: {', '.join(unknown)}; known: {', '.join(known)}")
    found = survey(options.names or list(known), timed=options.timings, repeat=options.repeat)
    if not options.names:
        write_results(found, timed=options.timings)
    print(json.dumps(found, indent=1) if options.json else nodes_table(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
