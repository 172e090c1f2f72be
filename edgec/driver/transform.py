"""The commands that make something: optimize and compile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..api import compile_with
from ..ir.model import Model
from ..lowering.ladder import Step
from ..optimizing import TEXT_SUFFIX, Optimized, Settings, load_plugin_modules, open_model, run_pipeline
from ..passes.observers import PrintAfter, Reproducer, Timing
from .arguments import usage_error
from .console import emit, quantity, say, table
from .progress import Progress, working


def optimize(
    model: Path,
    output: Path,
    settings: Settings,
    *,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    print_after: Sequence[str],
    reproducer: Path | None,
    external_data: bool | None,
    report: bool,
    as_json: bool,
) -> None:
    """Optimise a model file and write the result."""
    _check_output(output)
    began = time.perf_counter()
    load_plugin_modules(settings.plugins)
    _check_passes(print_after)
    timing = Timing()
    with working(f"reading {model.name}") as status:
        opened = open_model(model, dims, freeze)
        operators = _operators(opened)
        observers: list[Any] = [timing, Progress(status)]
        if print_after:
            observers.append(PrintAfter(print_after))
        if reproducer is not None:
            observers.append(Reproducer(reproducer))
        settings.observers = observers
        result = run_pipeline(opened, settings)
        if status is not None:
            status.update(f"writing {output.name}")
        _save(result.model, output, settings.opset, external_data)
    facts = {
        "schema": "edgec.optimize/1",
        "ok": True,
        "input": str(model),
        "output": str(output),
        "bytes": _written(output),
        **_story(result, timing),
        "operators": {"before": operators, "after": _operators(result.model)},
        "seconds": round(time.perf_counter() - began, 3),
    }
    emit(facts, as_json, _optimize_text(facts, timing, report))


def compile(
    model: Path,
    output: Path,
    settings: Settings,
    *,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    hardware: str | None,
    report: bool,
    as_json: bool,
) -> None:
    """Optimise a model, lower it and write the bundle."""
    from ..prediction import predictor

    timing = Timing()
    began = time.perf_counter()
    with working(f"compiling {model.name}") as status:
        settings.observers = [timing, Progress(status)]
        predict = predictor(hardware)
        compiled = compile_with(model, settings, output, dims, freeze)
    bundle, result = compiled.bundle, compiled.result
    predicted = predict(compiled) if predict is not None else None
    manifest = bundle.manifest
    files = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    facts = {
        "schema": "edgec.compile/1",
        "ok": True,
        "input": str(model),
        "output": str(output),
        "target": bundle.target,
        "files": files,
        "signature": manifest["signature"],
        "lowering": manifest["lowering"],
        "losses": manifest["losses"],
        "fallbacks": manifest["fallbacks"],
        "predicted": predicted,
        **_story(result, timing),
        "seconds": round(time.perf_counter() - began, 3),
    }
    lines = [
        f"{output}: bundle for {bundle.target}, {_nodes(result)}, {quantity(sum(files.values()), 'B')}",
        *_predicted(predicted),
        *_fallbacks(compiled.steps, report),
        *(f"lost: {loss['what']} ({loss['where']})" for loss in manifest["losses"]),
        *_details(facts, timing, report),
    ]
    emit(facts, as_json, "\n".join(lines))


def _predicted(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return []
    energy = figures.get("energy_j")
    more = "" if energy is None else f", {energy * 1e3:.3g} mJ"
    return [f"predicted: {figures['latency_s'] * 1e3:.3g} ms{more} on {figures['hardware']}"]


def _fallbacks(steps: Sequence[Step], every: bool) -> list[str]:
    """What is not native: changes of the computation one by one, what the target does itself in one line unless ``every`` is asked for."""
    lines = [f"fallback: {step.where}: {step}" for step in steps if every or step.rung in ("exact", "approximate")]
    own = Counter(step.op for step in steps if step.rung == "decomposed")
    if own and not every:
        lines.append("taken apart by the target: " + ", ".join(f"{name} {times}" for name, times in sorted(own.items())))
    return lines


def _check_output(output: Path) -> None:
    if output.suffix not in (".onnx", TEXT_SUFFIX):
        raise usage_error(f"'{output.name}' has no suffix that can be written", "--output", "write OUT.onnx, or OUT.edgec for text")
    if output.is_dir():
        raise usage_error(f"'{output}' is a folder", "--output", "name a file")


def _check_passes(names: Sequence[str]) -> None:
    from .. import passes  # noqa: F401  (registers the passes)
    from ..passes.registry import find_pass

    for name in names:
        find_pass(name)


def _save(model: Model, output: Path, opset: int | None, external_data: bool | None) -> None:
    if output.suffix == TEXT_SUFFIX:
        from ..ir.serial.atomic import writing
        from ..ir.text import print_graph

        text = print_graph(model).encode("utf-8")
        with writing(output) as (file,):
            file.write(text)
    else:
        model.save(output, opset=opset, external_data=external_data)


def _written(output: Path) -> int:
    data = output.with_name(output.name + ".data")
    beside = output.suffix == ".onnx" and data.is_file() and data.stat().st_mtime >= output.stat().st_mtime - 60
    return output.stat().st_size + (data.stat().st_size if beside else 0)


def _operators(model: Model) -> dict[str, int]:
    counts = Counter(node.op.qualified_name for node in model.graph.walk())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _story(result: Optimized, timing: Timing) -> dict[str, Any]:
    for note in (*result.model.notes, *result.context.notes):
        say(f"note: {note}")
    for output in (result.check or {}).get("outputs", ()):
        if output["noise_floor"] is not None:
            what = f"rounding alone moves it by {output['noise_floor']:.2g} (noise floor), the passes moved it by {output['worst']:.2g}"
            say(f"note: output '{output['name']}' is ill-conditioned on these inputs: {what}")
    return {
        "pipeline": result.pipeline,
        "nodes": {"before": result.nodes_before, "after": result.nodes_after},
        "opsets": dict(result.model.opsets),
        "passes": [
            {"name": name, "runs": timing.runs[name], "changes": timing.events[name], "seconds": round(seconds, 6)}
            for name, seconds in timing.seconds.items()
        ],
        "rewrites": result.context.rewrites,
        "last_rewrite": result.context.last_rewrite,
        "notes": [str(note) for note in (*result.model.notes, *result.context.notes)],
        "check": result.check,
    }


def _nodes(result: Optimized) -> str:
    return f"{result.nodes_before} → {result.nodes_after} nodes"


def _optimize_text(facts: Mapping[str, Any], timing: Timing, report: bool) -> str:
    nodes = facts["nodes"]
    head = f"{facts['output']}: {nodes['before']} → {nodes['after']} nodes, {quantity(facts['bytes'], 'B')}, {facts['seconds']:.2f} s"
    return "\n".join([head, *_details(facts, timing, report)])


def _details(facts: Mapping[str, Any], timing: Timing, report: bool) -> list[str]:
    if not report:
        return []
    lines = ["", timing.table()]
    operators = facts.get("operators")
    if operators:
        names = list(dict.fromkeys((*operators["before"], *operators["after"])))
        rows = [(n, operators["before"].get(n, 0), operators["after"].get(n, 0)) for n in names]
        lines += ["", table(("operator", "before", "after"), rows, right=(1, 2))]
    return lines
