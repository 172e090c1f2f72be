"""The command that looks at a model or a bundle: inspect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..inspection import inspect_model
from ..optimizing import open_model
from .arguments import usage_error
from .console import emit, limits, quantity, sized, table


def inspect(
    path: Path,
    *,
    dims: Mapping[str, int],
    ranges: Mapping[str, tuple[int, int]],
    nodes: bool,
    tensors: bool,
    text: bool,
    as_json: bool,
) -> None:
    """Print what a model holds, or the manifest of a bundle."""
    if path.is_dir():
        if (path / "manifest.json").is_file():
            _inspect_bundle(path, as_json)
            return
        raise usage_error(f"'{path}' is a folder without a bundle's manifest", "", "name the .onnx file inside it")
    model = open_model(path, dims)
    if text:
        from ..ir.text import print_graph

        printed = print_graph(model, elide=True, details=False)
        emit({"schema": "edgec.text/1", "ok": True, "text": printed}, as_json, printed.rstrip("\n"))
        return
    facts = inspect_model(model, ranges)
    emit(facts, as_json, _text(facts, nodes, tensors))


def _text(facts: Mapping[str, Any], nodes: bool, tensors: bool) -> str:
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts["opsets"].items())
    producer = " ".join(str(facts["properties"].get(k, "")) for k in ("producer_name", "producer_version")).strip()
    lines = [f"{facts['name']}: {facts['node_count']} nodes, {opsets}" + (f", made by {producer}" if producer else "")]
    lines += [f"  in   {t['name']}: {t['type']}" for t in facts["inputs"]]
    lines += [f"  out  {t['name']}: {t['type']}" for t in facts["outputs"]]
    parameters, macs, memory = facts["parameters"], facts["macs"], facts["memory"]
    kinds = ", ".join(f"{quantity(count)} {dtype}" for dtype, count in parameters["by_dtype"].items())
    lines.append(f"parameters  {quantity(parameters['count'])} in {quantity(parameters['bytes'], 'B')} ({kinds or 'none'})")
    lines.append(f"MACs        {_with_limits(macs['value'], macs['range'], '')}")
    if macs["unknown"]:
        lines.append(f"            without {len(macs['unknown'])} node(s) of unknown work: {', '.join(macs['unknown'][:3])}")
    lines += _memory(memory)
    lines = [line.replace("\n", "\\n") for line in lines]  # a name out of a model may hold anything
    rows = [(name, group["count"], _macs(group["macs"])) for name, group in facts["operators"].items()]
    lines += ["", table(("operator", "count", "MACs"), rows, right=(1,))]
    if nodes:
        rows = [(n["name"], n["op"], _macs(n["macs"]), limits(n["macs_range"]), ", ".join(n["outputs"])) for n in facts["nodes"]]
        lines += ["", table(("node", "operator", "MACs", "range", "results"), rows)]
    if tensors:
        rows = [(t["name"], t["type"], sized(t["bytes"], "B"), limits(t["bytes_range"], "B")) for t in facts["tensors"]]
        lines += ["", table(("tensor", "type", "bytes", "range"), rows)]
    if not nodes and not tensors:
        lines += ["", "--tensors prints the shape and size of every tensor, --nodes the work of every node"]
    return "\n".join([*lines, *("note: " + note.replace("\n", "\\n") for note in facts["notes"])])


def _macs(value: Any) -> str:
    return "" if value == 0 else sized(value)


def _with_limits(value: Any, pair: Any, unit: str) -> str:
    return f"{sized(value, unit)} {limits(pair, unit)}".rstrip()


def _memory(memory: Mapping[str, Any]) -> list[str]:
    moments = memory["moments"]
    if len(moments) == 1:
        lines = [f"activations {_with_limits(moments[0]['bytes'], memory['range'], 'B')} at most, at {moments[0]['node']}"]
    else:
        lines = [f"activations at most the largest of these, {limits(memory['range'], 'B')}:"]
        lines += [f"            {sized(m['bytes'], 'B')} at {m['node']}" for m in moments[:4]]
        if len(moments) > 4:
            lines.append(f"            and {len(moments) - 4} more; --dim or --range decide between them")
    if memory["unknown"]:
        lines.append(f"            without {len(memory['unknown'])} value(s) of unknown size: {', '.join(memory['unknown'][:3])}")
    return lines


def _inspect_bundle(path: Path, as_json: bool) -> None:
    from ..runtime.bundle import load_bundle

    bundle = load_bundle(path)
    manifest = bundle.manifest
    facts = {"schema": "edgec.bundle/1", "ok": True, "folder": str(path), "manifest": manifest}
    lines = [f"{path}: bundle for {bundle.target}, written by edgec {manifest['edgec']}"]
    lines += [f"  in   {spec.name}: {spec}" for spec in bundle.signature.inputs]
    lines += [f"  out  {spec.name}: {spec}" for spec in bundle.signature.outputs]
    rows = [(name, quantity(entry["bytes"], "B"), entry["sha256"][:16]) for name, entry in manifest["files"].items()]
    lines += ["", table(("file", "size", "sha256"), rows)]
    emit(facts, as_json, "\n".join(lines))
