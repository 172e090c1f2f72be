"""`edgec optimize` beside other simplifiers on every model: operators left, cost, agreement, and speed of the result in ONNX Runtime.

Needs an environment with edgec and the tools of `peers.py`, and the table of `peers.py` (`results/peers_nodes.json`).

    python benchmarks/simplify.py                    operators left and agreement: results/simplify.md
    python benchmarks/simplify.py --timings          CPU time and memory side by side with onnxsim and onnxslim: results/simplify_timings.md
    python benchmarks/simplify.py --latency          ONNX Runtime on the result against the original: results/simplify_latency.md
    python benchmarks/simplify.py NAME... [--json]   some models only

Each measurement runs in a fresh process. Interleaved runs; CPU seconds are the least of the repeats, latencies the medians of paired runs.
The figure for edgec takes in reading the file and writing the result; those of the other tools are their call alone, model loaded.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peers  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
ROOT = Path(__file__).resolve().parents[1]
RIVALS = ("onnxsim", "onnxslim")
LATENCY_RUNS = 15


def optimise(source: Path, target: Path) -> dict[str, Any]:
    """Optimise one model in this process with the default portable pipeline.

    Returns:
        Counts, CPU seconds of reading, passes and writing together, CPU seconds of the process, peak resident memory in MiB.
    """
    sys.path.insert(0, str(ROOT))
    import edgec

    # Imports and the look-up of plugins are outside the measured span, as the other tools' are.
    edgec.optimize  # noqa: B018
    import onnx

    import edgec.ir.serial.upgrade_rules
    import edgec.ir.serial.writer
    import edgec.passes.default_pipeline
    import edgec.passes.manager
    from edgec.passes.plugins import load_plugins

    load_plugins()
    started = time.process_time()
    model = edgec.optimize(source)
    model.save(target)
    seconds = time.process_time() - started
    process_seconds = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = onnx.load(target, load_external_data=False)
    return {
        **peers.count(result),
        "cpu_s": round(seconds, 3),
        "process_cpu_s": round(process_seconds, 3),
        "peak_mib": round(peak, 1),
        "bytes_before": source.stat().st_size,
        "bytes_after": target.stat().st_size,
        "opset": {item.domain: item.version for item in result.opset_import},
        "domains": sorted({node.domain for node in result.graph.node if node.domain}),
    }


def latency(first: Path, second: Path, feeds_file: Path) -> dict[str, Any]:
    """Median milliseconds of two models in ONNX Runtime with its default optimisations, one thread, runs interleaved."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with np.load(feeds_file) as archive:
        feeds = dict(archive)
    sessions = [onnxruntime.InferenceSession(str(f), options, providers=["CPUExecutionProvider"]) for f in (first, second)]
    wanted = [{v.name: feeds[v.name] for v in s.get_inputs()} for s in sessions]
    times: list[list[float]] = [[], []]
    for turn in range(LATENCY_RUNS + 2):
        for index, session in enumerate(sessions):
            started = time.perf_counter()
            session.run(None, wanted[index])
            if turn >= 2:
                times[index].append((time.perf_counter() - started) * 1e3)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return {"original_ms": statistics.median(times[0]), "optimised_ms": statistics.median(times[1]), "ratio": ratio}


def _worker(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, "--worker", *arguments], capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return {"error": lines[-1][:300] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def survey(names: list[str], *, timings: bool, with_latency: bool, repeat: int) -> dict[str, Any]:
    """Measure edgec (and, for timings, its rivals) on each model."""
    available = peers.models()
    best = json.loads((RESULTS / "peers_nodes.json").read_text())
    found: dict[str, Any] = {}
    for name in names:
        source, feeds = available[name]
        with tempfile.TemporaryDirectory(prefix="edgec-simplify-") as folder:
            target = Path(folder) / "out.onnx"
            row: dict[str, Any] = {"edgec": _worker("optimise", str(source), str(target))}
            if "error" not in row["edgec"]:
                row["edgec"].update(_worker("compare", str(source), str(target), str(feeds)))
                if with_latency:
                    row["edgec"].update(_worker("latency", str(source), str(target), str(feeds)))
            for _ in range(repeat if timings else 0):
                for tool in ("edgec", *RIVALS):
                    again = (
                        _worker("optimise", str(source), str(target))
                        if tool == "edgec"
                        else _worker("simplify", tool, str(source), str(Path(folder) / "rival.onnx"))
                    )
                    kept = row.setdefault(tool, again)
                    for figure in ("cpu_s", "process_cpu_s", "peak_mib"):
                        if figure in again and figure in kept:
                            kept[figure] = min(kept[figure], again[figure])
        row.update({key: best[name][key] for key in ("original", "best", "best_compact")})
        found[name] = row
        print(name, row["edgec"].get("operators", row["edgec"].get("error")), file=sys.stderr, flush=True)
    return found


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def nodes_table(found: dict[str, Any]) -> str:
    """Markdown: operators left by edgec and by the best other tool."""
    lines = [
        "# Operators left by `edgec optimize` (portable pipeline: ai.onnx only)",
        "",
        "`python benchmarks/simplify.py`; subgraphs included, Constant nodes left out. *Best other*: the fewest that any of onnxsim,",
        "onnxslim, onnxoptimizer and onnxscript leaves with a result that still computes the same; *compact*: among the results that",
        "folding has not made more than 1 MiB larger. *Difference*: largest absolute difference of an output over its largest magnitude,",
        "ONNX Runtime without optimisations.",
        "",
        "| model | original | best other | compact | edgec | edgec ÷ original | opset | file, MB | difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ratios: list[tuple[float, float, float]] = []
    for name, row in found.items():
        edgec = row["edgec"]
        original, other, compact = (row[k]["operators"] for k in ("original", "best", "best_compact"))
        if "operators" not in edgec:
            lines.append(f"| {name} | {original} | {other} | {compact} | fails: {edgec['error']} | | | | |")
            continue
        left = edgec["operators"]
        ratios.append((left / original, other / original, compact / original))
        mark = f"**{left}**" if left <= other else f"{left}"
        agreement = f"{edgec['difference']:.1e}" if edgec.get("matches") else f"WRONG {edgec.get('difference', edgec.get('error'))}"
        size = f"{edgec['bytes_before'] / 1e6:.1f} → {edgec['bytes_after'] / 1e6:.1f}"
        cells = [name, original, other, compact, mark, f"{left / original:.2f}", edgec["opset"].get(""), size, agreement]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    means = [_mean([r[i] for r in ratios]) for i in range(3)]
    lines += [
        "",
        f"Geometric mean of operators left ÷ original over {len(ratios)} models: **edgec {means[0]:.3f}**, best other tool per model "
        f"{means[1]:.3f} (compact {means[2]:.3f}).",
    ]
    return "\n".join(lines) + "\n"


def timings_table(found: dict[str, Any]) -> str:
    """Markdown: CPU seconds and peak memory, side by side."""
    lines = [
        "# Cost of `edgec optimize`",
        "",
        "`python benchmarks/simplify.py --timings`; CPU seconds · peak resident MiB of the process. edgec: reading, passes and writing;",
        "the others: their call alone, model loaded. Least of interleaved runs in fresh processes.",
        "",
        "| model | edgec | " + " | ".join(RIVALS) + " | " + " | ".join(f"edgec ÷ {r}" for r in RIVALS) + " |",
        "|---|---|" + "---|" * len(RIVALS) + "---:|" * len(RIVALS),
    ]
    ratios: dict[str, list[float]] = {rival: [] for rival in RIVALS}
    for name, row in found.items():
        cells = [f"{row[t]['cpu_s']:.2f} · {row[t]['peak_mib']:.0f}" if "cpu_s" in row[t] else "fails" for t in ("edgec", *RIVALS)]
        quotients = []
        for rival in RIVALS:
            if "cpu_s" in row[rival] and "cpu_s" in row["edgec"]:
                ratios[rival].append(max(row["edgec"]["cpu_s"], 1e-3) / max(row[rival]["cpu_s"], 1e-3))
                quotients.append(f"{ratios[rival][-1]:.2f}")
            else:
                quotients.append("")
        lines.append(f"| {name} | {' | '.join(cells)} | {' | '.join(quotients)} |")
    summary = ", ".join(f"{_mean(v):.2f} of {r} (largest {max(v):.2f})" for r, v in ratios.items() if v)
    return "\n".join([*lines, "", f"Geometric mean of CPU time: {summary}."]) + "\n"


def latency_table(found: dict[str, Any]) -> str:
    """Markdown: ONNX Runtime on original and result."""
    lines = [
        "# ONNX Runtime on the result of `edgec optimize`",
        "",
        "`python benchmarks/simplify.py --latency`; milliseconds on one thread, ONNX Runtime's default optimisations for both, medians of",
        f"{LATENCY_RUNS} interleaved runs; the ratio is the median of paired runs.",
        "",
        "| model | original | optimised | optimised ÷ original |",
        "|---|---:|---:|---:|",
    ]
    ratios: list[float] = []
    for name, row in found.items():
        edgec = row["edgec"]
        if "ratio" in edgec:
            ratios.append(edgec["ratio"])
            lines.append(f"| {name} | {edgec['original_ms']:.3f} | {edgec['optimised_ms']:.3f} | {edgec['ratio']:.3f} |")
    return "\n".join([*lines, "", f"Geometric mean: {_mean(ratios):.3f}; largest {max(ratios):.3f}."]) + "\n"


def main() -> int:
    """Run a survey, or one step of it as a worker."""
    if sys.argv[1:2] == ["--worker"]:
        step, *arguments = sys.argv[2:]
        steps = {"optimise": optimise, "latency": latency, "compare": peers.compare}
        if step == "simplify":
            print(json.dumps(peers.simplify(arguments[0], Path(arguments[1]), Path(arguments[2]))))
        else:
            print(json.dumps(steps[step](*map(Path, arguments))))
        return 0
    parser = argparse.ArgumentParser(description="Measure `edgec optimize` beside other simplifiers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all models when none is given")
    parser.add_argument("--timings", action="store_true", help="CPU time and memory, side by side")
    parser.add_argument("--latency", action="store_true", help="ONNX Runtime on the result against the original")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved runs for --timings")
    parser.add_argument("--json", action="store_true", help="measurements to standard output, no table written")
    options = parser.parse_args()
    names = options.names or list(json.loads((RESULTS / "peers_nodes.json").read_text()))
    found = survey(names, timings=options.timings, with_latency=options.latency, repeat=options.repeat)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    tables = {"simplify_timings.md": timings_table} if options.timings else {}
    tables |= {"simplify_latency.md": latency_table} if options.latency else {}
    tables |= {} if tables else {"simplify.md": nodes_table}
    for file, table in tables.items():
        text = table(found)
        print(text)
        if not options.names:
            peers.zoo.write_atomically(RESULTS / file, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
