"""Where the time goes: by module scope, by layer and its parts, and by the parts of attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.graph import Graph
from ..attention import attention_shape
from ..compiled import CompiledSchedule
from ..kernels import CONTRACTIONS
from ..operators import ATTENTIONS
from ..prediction import GraphPrediction, Prediction
from ..schedule import build_schedule, label
from .roles import ATTENTION_PARTS, Role, find_roles

Scopes = Mapping[str, Sequence[str]]
RUN = "run overhead"


@dataclass(frozen=True)
class Shares:
    """One part of the time of a node.

    Attributes:
        role: what the part is for.
        part: of the time, from 0 to 1.
        split: whether a fused node was divided by operations; then the division is an assumption.
    """

    role: Role
    part: float
    split: bool


def node_shares(prediction: GraphPrediction, graph: Graph, compiled: CompiledSchedule | None = None) -> list[list[Shares]]:
    """The roles of every node of a prediction, in its order.

    Args:
        prediction: of this graph, or of its nodes grouped into kernels.
        graph: the graph before grouping.
        compiled: its schedule, when it was made already.
    """
    roles = find_roles(graph)
    flops = _flops(compiled or CompiledSchedule(build_schedule(graph)), prediction.bindings)
    parts = _fused_parts(graph, prediction)
    found: list[list[Shares]] = []
    for node in prediction.nodes:
        names = [name for name in node.nodes if name in roles] or [node.name]
        weights = [max(flops.get(name, 0.0), 1e-9) for name in names]
        total = sum(weights)
        shares: dict[Role, float] = {}
        split = False
        for name, weight in zip(names, weights, strict=True):
            role = roles.get(name, Role("other"))
            for inner, part in parts.get(name, {role.name: 1.0}).items():
                split = split or inner != role.name
                kept = Role(inner, role.layer)
                shares[kept] = shares.get(kept, 0.0) + weight / total * part
        found.append([Shares(role, part, split or len(shares) > 1) for role, part in shares.items()])
    return found


def _flops(compiled: CompiledSchedule, bindings: Mapping[str, int]) -> dict[str, float]:
    known = {name: value for name, value in bindings.items() if name in (*compiled.schedule.inputs, *compiled.schedule.free)}
    sized = compiled.at(known)
    return {kernel.name: float(sized.flops[i, 0] * sized.count[i, 0]) for i, kernel in enumerate(compiled.schedule.kernels)}


def _fused_parts(graph: Graph, prediction: GraphPrediction) -> dict[str, dict[str, float]]:
    """Of fused attention operators, the share of the operations of every part."""
    flops = {node.name: (node.flops, node.macs) for node in prediction.nodes}
    found: dict[str, dict[str, float]] = {}
    for node in graph.walk():
        if node.op.op_name not in ATTENTIONS:
            continue
        shape = attention_shape(node)
        known = flops.get(label(node))
        if shape is None or known is None or known[0] <= 0:
            continue
        values = {**prediction.assumed, **prediction.bindings}
        scores, projection = (_number(d, values) for d in (shape.scores, shape.projection))
        size, value_size = (_number(d, values) for d in (shape.size, shape.value_size))
        whole = scores * (size + value_size) + projection
        products = 2.0 * known[1] / known[0]
        if whole <= 0:
            continue
        parts = {"qkv": projection / whole * products, "qk": scores * size / whole * products, "softmax": 1.0 - products}
        parts["av"] = scores * value_size / whole * products
        found[label(node)] = {name: part for name, part in parts.items() if part > 0}
    return found


def _number(dim: Any, values: Mapping[str, int]) -> float:
    from ...ir.dims import Expr, substitute

    if isinstance(dim, Expr):
        dim = substitute(dim, {name: values[name] for name in dim.symbols() if name in values})
    return float(dim) if isinstance(dim, int) else 0.0


# -- by layer ----------------------------------------------------------------------------------------------------------
def layer_rollup(prediction: GraphPrediction, shares: Sequence[Sequence[Shares]]) -> dict[str, Any]:
    """Seconds by layer and part, and of the parts of attention; every sum is that of the nodes.

    Returns:
        ``groups`` (attn, ffn, norm, residual …), ``layers`` (the same for each), ``attention`` (qkv, qk, softmax, av, out) and ``split``,
        the names of nodes that were divided by operations.
    """
    groups: dict[str, float] = {}
    layers: dict[str, dict[str, float]] = {}
    attention = dict.fromkeys(ATTENTION_PARTS, 0.0)
    split: list[str] = []
    for node, parts in zip(prediction.nodes, shares, strict=True):
        for share in parts:
            seconds = node.seconds[1] * share.part
            groups[share.role.group] = groups.get(share.role.group, 0.0) + seconds
            layer = layers.setdefault(share.role.layer, {})
            layer[share.role.group] = layer.get(share.role.group, 0.0) + seconds
            if share.role.name in attention:
                attention[share.role.name] += seconds
        if any(share.split for share in parts):
            split.append(node.name)
    if not attention["attention"]:
        del attention["attention"]
    numbered = {name: parts for name, parts in layers.items() if name}
    return {"groups": groups, "layers": numbered, "attention": attention if any(attention.values()) else {}, "split": split}


def typical_shares(prediction: GraphPrediction, shares: Sequence[Sequence[Shares]]) -> dict[str, dict[str, float]]:
    """What this model spends on attention products, other products, convolutions and memory, as shares of multiply-accumulates and time.

    There is no typical division: for a transformer of width d and feed-forward 4 d the products of attention are N / (6 d + N) of the
    multiply-accumulates.
    """
    macs: dict[str, float] = {}
    seconds: dict[str, float] = {RUN: prediction.run_seconds[1]}
    for node, parts in zip(prediction.nodes, shares, strict=True):
        for share in parts:
            kind = _kind(node, share.role)
            seconds[kind] = seconds.get(kind, 0.0) + node.seconds[1] * share.part
        if node.macs:
            inside = [s for s in parts if s.role.name != "softmax"] or parts
            total = sum(s.part for s in inside)
            for share in inside:
                kind = _kind(node, share.role)
                macs[kind] = macs.get(kind, 0.0) + node.macs * share.part / total
    return {"macs": _normalized(macs), "seconds": _normalized(seconds)}


def _kind(node: Prediction, role: Role) -> str:
    if role.name in ("qk", "av", "softmax", "attention"):
        return "attention products"
    if node.kernel.startswith("conv"):
        return "convolutions"
    if node.kernel in CONTRACTIONS or node.macs:
        return "recurrent" if node.kernel == "recurrent" else "linear"
    return "memory"


def _normalized(values: Mapping[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total for name, value in values.items()} if total else {}


# -- by scope ----------------------------------------------------------------------------------------------------------
def scope_of(name: str) -> tuple[str, ...]:
    """The module scope in a node's name, as exporters write it.

    >>> scope_of("/bert/encoder/layer.0/attention/self/query/MatMul")
    ('bert', 'encoder', 'layer.0', 'attention', 'self', 'query')
    >>> scope_of("node_linear_3")
    ()
    """
    parts = [part for part in name.split("/") if part]
    return tuple(parts[:-1])


def scope_rollup(prediction: GraphPrediction, scopes: Scopes | None = None) -> dict[str, Any]:
    """Seconds as a tree of module scopes: ``name``, ``seconds`` (low, expected, high of all below) and ``children``.

    Args:
        prediction: the nodes.
        scopes: of the nodes of the imported model by name; `scope_of` their names where absent.
    """
    root: dict[str, Any] = {"name": "", "seconds": 0.0, "children": {}}
    for node in prediction.nodes:
        source = next((s for s in node.sources if (scopes or {}).get(s) or scope_of(s)), node.name)
        path = [*((scopes or {}).get(source) or scope_of(source)), node.name]
        place = root
        place["seconds"] += node.seconds[1]
        for part in path:
            place = place["children"].setdefault(part, {"name": part, "seconds": 0.0, "children": {}})
            place["seconds"] += node.seconds[1]
    return _tree(root)


def _tree(place: dict[str, Any]) -> dict[str, Any]:
    children = [_tree(child) for child in place["children"].values()]
    if len(children) == 1 and children[0]["children"] and not place["name"]:
        return children[0]
    return {"name": place["name"], "seconds": place["seconds"], "children": children}
