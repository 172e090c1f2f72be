"""The document of `edgec cost --json` in the form that the page draws: one list per column, what targets share only once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...ir.diagnostics import Diagnostic, code
from ..analysis.rollup import scope_of

E_DOCUMENT = code(
    "E1040",
    "the data is no document of predicted costs",
    "A report is drawn from what `edgec cost --json` prints: an object with target, seconds and nodes, a list of such objects, or an "
    "object whose `targets` is that list.",
)
DIGITS = 6  # significant ones; the page shows three
_NEEDED = ("target", "seconds", "nodes")
_NODE_NEEDED = ("name", "op", "seconds", "bound", "flops", "bytes")
_PASSED = (
    "bound_shares", "elasticities", "layers", "batching", "precisions", "advice", "sweeps", "phases",
)  # fmt: skip


def documents_of(data: Any) -> list[Mapping[str, Any]]:
    """The documents of single targets.

    Raises:
        Diagnostic: E1040 for data of another form.
    """
    found = data.get("targets", [data]) if isinstance(data, Mapping) else data
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise Diagnostic(E_DOCUMENT, "there is no target in it", hint="give what `edgec cost --json` prints")
    for position, one in enumerate(found):
        missing = [key for key in _NEEDED if not isinstance(one, Mapping) or key not in one]
        if missing:
            raise Diagnostic(E_DOCUMENT, f"document {position + 1} has no {' and no '.join(f'{m!r}' for m in missing)}")
        for node in one["nodes"]:
            lacking = [key for key in _NODE_NEEDED if key not in node]
            if lacking:
                raise Diagnostic(E_DOCUMENT, f"a node of target '{one['target']}' has no '{lacking[0]}'")
    return list(found)


def compact(data: Any) -> dict[str, Any]:
    """What the page embeds: ``model``, ``graphs`` (names, operators and work of the nodes) and ``targets``, which refer to them.

    Raises:
        Diagnostic: E1040 for data of another form.
    """
    documents = documents_of(data)
    graphs: list[dict[str, Any]] = []
    known: dict[str, int] = {}
    targets = []
    for document in documents:
        graph = _graph(document)
        key = json.dumps(graph)
        if key not in known:
            known[key] = len(graphs)
            graphs.append(graph)
        targets.append({**_target(document), "graph": known[key]})
    model = data.get("model") if isinstance(data, Mapping) else None
    choices = next((d["analysis"]["pareto"] for d in documents if d.get("analysis", {}).get("pareto")), [])
    whole = {"model": str(model or documents[0].get("model", "model")), "graphs": graphs, "targets": targets, "choices": choices}
    return _rounded(whole)


def _graph(document: Mapping[str, Any]) -> dict[str, Any]:
    nodes = document["nodes"]
    scopes, places = _scopes(document)
    return {
        "name": [node["name"] for node in nodes],
        "op": ["+".join(_operators(node)) for node in nodes],
        "kernel": [node.get("kernel", "") for node in nodes],
        "sources": [list(node.get("sources", ()))[:4] for node in nodes],
        "scope": places,
        "scopes": scopes,
    }


def _operators(node: Mapping[str, Any]) -> Sequence[str]:
    return node.get("operators") or [str(node["op"]).rpartition(".")[2]]


def _target(document: Mapping[str, Any]) -> dict[str, Any]:
    analysis = document.get("analysis", {})
    nodes = document["nodes"]
    roofline = analysis.get("roofline") or {}
    levels = [level["name"] for level in roofline.get("levels", ())]
    reasons = {index: one for index, one in enumerate(analysis.get("bottlenecks") or ())}
    gains = {one["name"]: 1.0 - 1.0 / one["whole_speedup"] for one in analysis.get("priorities") or ()}
    found: dict[str, Any] = {
        key: document.get(key)
        for key in ("target", "engine", "tier", "precision", "dims", "assumed", "seconds", "joules", "macs", "flops", "energy", "notes")
    }
    found |= {key: document.get(key, 0) for key in ("peak_bytes", "weight_bytes", "kv_bytes")}
    found["run_seconds"] = document.get("run_seconds", [0, 0, 0])
    found["node_count"] = document.get("node_count")
    found["kernels"] = analysis.get("kernels")
    found["roofline"] = roofline
    found["nodes"] = {
        "seconds": [node["seconds"] for node in nodes],
        "bound": [node["bound"] for node in nodes],
        "dtype": [node.get("dtype", "") for node in nodes],
        "flops": [node["flops"] for node in nodes],
        "macs": [node.get("macs", 0) for node in nodes],
        "bytes": [node["bytes"] for node in nodes],
        "traffic": {name: [node.get("traffic", {}).get(name, 0) for node in nodes] for name in levels},
        "live": [node.get("live_bytes", 0) for node in nodes],
        "joules": [node.get("joules", 0) for node in nodes],
        "known": [int(node.get("known", True)) for node in nodes],
        "gain": [gains.get(node["name"], 0.0) for node in nodes],
        "level": [reasons[i]["level"] if i in reasons else "" for i in range(len(nodes))],
        "evidence": [reasons[i]["evidence"] if i in reasons else "" for i in range(len(nodes))],
    }
    found |= {key: analysis[key] for key in _PASSED if analysis.get(key)}
    if "elasticities" in found:
        found["elasticities"] = {**found["elasticities"], "nodes": None}
    found["fusion"] = [_fusion(case) for case in analysis.get("fusion") or ()]
    return found


def _fusion(case: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        "name", "nodes", "intensity_before", "intensity_after", "ridge", "bytes_before", "bytes_after", "spill_bytes", "seconds_before",
        "seconds_after", "gain", "verdict", "evidence",
    )  # fmt: skip
    return {key: case.get(key) for key in kept}


# -- scopes ------------------------------------------------------------------------------------------------------------
def _scopes(document: Mapping[str, Any]) -> tuple[list[list[Any]], list[int]]:
    """Scopes as (parent, name), parents first, and the scope of every node; -1 is the model."""
    paths: dict[str, list[tuple[str, ...]]] = {}
    for name, path in _leaves(document.get("analysis", {}).get("scopes"), ()):
        paths.setdefault(name, []).append(path)
    scopes: dict[tuple[str, ...], int] = {}
    table: list[list[Any]] = []
    places = []
    for node in document["nodes"]:
        waiting = paths.get(node["name"])
        path = waiting.pop(0) if waiting else scope_of(str(node["name"]))
        place = -1
        for depth in range(1, len(path) + 1):
            found = scopes.get(path[:depth])
            if found is None:
                found = scopes[path[:depth]] = len(table)
                table.append([place, path[depth - 1]])
            place = found
        places.append(place)
    return table, places


def _leaves(tree: Mapping[str, Any] | None, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if tree is None:
        return
    if not tree.get("children"):
        yield str(tree["name"]), path
        return
    inner = (*path, str(tree["name"])) if tree["name"] else path
    for child in tree["children"]:
        yield from _leaves(child, inner)


def _rounded(value: Any) -> Any:
    """Numbers with `DIGITS` significant digits; None in place of what is no number."""
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short
