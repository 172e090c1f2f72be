"""The command support: what becomes of a model's nodes on some targets, or of all operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Exit
from ..lowering.ladder import RUNGS, Step
from ..optimizing import Settings, load_plugin_modules
from ..supporting import SupportReport, TargetSupport, single_node, support_of
from .arguments import usage_error
from .console import emit, quantity, say, table
from .progress import working

LISTED = 40


def support(
    model: Path,
    settings: Settings,
    targets: Sequence[str],
    *,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    hardware: str | None,
    every_node: bool,
    html: Path | None,
    as_json: bool,
) -> int:
    """Print what becomes of every node; gives the exit status."""
    with working(f"reading {model.name}") as status:
        tell = status.update if status is not None else lambda text: None
        report = support_of(model, settings, targets, dims=dims, freeze=freeze, hardware=hardware, progress=tell)
    if html is not None:
        from .matrix_page import model_page

        _write(html, model_page(report))
        say(f"note: {html} shows the matrix")
    emit(report.to_json(), as_json, "\n\n".join([_head(report), *(_target(report, found, every_node) for found in report.targets)]))
    return 0 if all(found.goes for found in report.targets) else int(Exit.TARGET_REFUSED)


def save_node(
    model: Path,
    name: str,
    output: Path | None,
    settings: Settings,
    *,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Write the model of one node."""
    if output is None or output.suffix != ".onnx":
        raise usage_error("--save-node needs a file to write", "--output", "-o NODE.onnx")
    found = single_node(model, name, settings, dims, freeze)
    found.save(output)
    node = next(iter(found.graph))
    facts = {
        "schema": "edgec.save-node/1",
        "ok": True,
        "input": str(model),
        "output": str(output),
        "node": name,
        "op": node.op.qualified_name,
    }
    emit(facts, as_json, f"{output}: {node.op.qualified_name} alone, {len(found.graph.inputs)} inputs")


def operator_support(targets: Sequence[str], plugins: Sequence[str], html: Path, as_json: bool) -> None:
    """Write the matrix of all operators and targets."""
    from ..lowering.registry import backend
    from .matrix_page import operator_page

    load_plugin_modules(plugins)
    runners = [backend(name) for name in targets]
    for runner in runners:
        runner.require()
    _write(html, operator_page(runners))
    facts = {"schema": "edgec.support-page/1", "ok": True, "output": str(html), "targets": list(targets)}
    emit(facts, as_json, f"{html}: the operators of {', '.join(targets)}")


def _write(path: Path, text: str) -> None:
    from ..ir.serial.atomic import writing

    with writing(path) as (file,):
        file.write(text.encode("utf-8"))


def _head(report: SupportReport) -> str:
    macs = sum(node.macs for node in report.nodes)
    return f"{report.name}: {len(report.nodes)} nodes after the portable passes, {quantity(macs)} MACs"


def _target(report: SupportReport, found: TargetSupport, every_node: bool) -> str:
    state = "takes the model" if found.goes else "cannot take the model"
    lines = [f"{found.target} {found.version}".rstrip() + f" {state}"]
    if found.refusal is not None:
        lines.append(f"  {found.refusal.code}: {found.refusal.message}")
        if found.refusal.hint:
            lines.append(f"  hint: {found.refusal.hint}")
    counts = report.counts(found)
    latency = _latencies(report, found)
    rows = [(rung, c["nodes"], f"{c['macs_share']:.1%}", latency.get(rung, ""), RUNGS[rung]) for rung, c in counts.items()]  # type: ignore[index]
    if rows and latency:
        lines += ["", table(("rung", "nodes", "MACs", "time", ""), rows, right=(1, 2, 3))]
    elif rows:
        lines += ["", table(("rung", "nodes", "MACs", ""), [(*row[:3], row[4]) for row in rows], right=(1, 2))]
    if every_node:
        cells = [(step.node, step.op, step.rung, step.code, _why(step)) for step in found.steps]
        return "\n".join([*lines, "", table(("node", "operator", "rung", "code", "what happens and why"), cells)])
    return "\n".join([*lines, *_groups(found.steps)])


def _groups(steps: Sequence[Step]) -> list[str]:
    """What is not native: nodes of one operator with one fate together, the worst first."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for step in steps:
        if step.rung != "native":
            groups.setdefault((step.op, step.rung, step.code, _why(step)), []).append(step.node)
    if not groups:
        return []
    order = list(RUNGS)
    ranked = sorted(groups.items(), key=lambda item: (-order.index(item[0][1]), -len(item[1])))  # type: ignore[arg-type]
    cells = [(op, len(names), rung, code, why, names[0]) for (op, rung, code, why), names in ranked[:LISTED]]
    lines = ["", table(("operator", "nodes", "rung", "code", "what happens and why", "such as"), cells, right=(1,))]
    if len(ranked) > LISTED:
        lines.append(f"and {len(ranked) - LISTED} more kinds")
    return [*lines, "--nodes lists every node"]


def _latencies(report: SupportReport, found: TargetSupport) -> dict[str, str]:
    if found.seconds is None:
        return {}
    sums: dict[str, float] = {}
    for step, seconds in zip(found.steps, found.seconds, strict=False):
        sums[step.rung] = sums.get(step.rung, 0.0) + (seconds or 0.0)
    return {rung: f"{total * 1e3:.3g} ms" for rung, total in sums.items()}


def _why(step: Step) -> str:
    text = "" if step.rung == "native" else str(step)
    return f"{text} (tried: {'; '.join(step.tried)})" if step.tried else text
