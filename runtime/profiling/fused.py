"""From the nodes of an optimised graph back to the nodes that they were made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...ir.graph import Graph, Node

_MADE = re.compile(r"(_nchwc|_nhwc|_quant|_token_\d+|_transposed|/MatmulTransposeFusion|/MatMulScaleFusion)+/?$")
FARTHEST = 64  # nodes of one fusion


def origins(optimized: Graph, original: Graph) -> dict[str, tuple[str, ...]]:
    """For every node of the optimised graph, by its name or that of its result, the names of the original nodes that it computes.

    A fused node ends in a value of the original graph: it keeps the value's name, or bears it in its own. What lies between that value
    and the ends of other nodes belongs to it.
    """
    producers = {v.name: node for node in original.walk() for v in node.outputs}
    by_name = {node.name: node for node in original.walk() if node.name}
    ends = {_label(node): _ends(node, producers, by_name) for node in optimized.walk()}
    borders = {id(node) for found in ends.values() for node in found}
    found: dict[str, tuple[str, ...]] = {}
    for label, finals in ends.items():
        members: dict[int, Node] = {}
        waiting = list(finals)
        while waiting and len(members) < FARTHEST:
            node = waiting.pop()
            if id(node) in members:
                continue
            members[id(node)] = node
            before = [v.producer for v in node.inputs if v is not None and v.producer is not None]
            waiting += [p for p in before if id(p) not in borders]
        found[label] = tuple(dict.fromkeys(_label(n) for n in reversed(list(members.values()))))
    return found


def _label(node: Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else "")


def _ends(node: Node, producers: Mapping[str, Node], by_name: Mapping[str, Node]) -> list[Node]:
    """The original nodes that a node ends in; several when it has several results."""
    found = [producers[v.name] for v in node.outputs if v.name in producers]
    if found:
        return list({id(n): n for n in found}.values())
    if node.op.op_name in ("ReorderInput", "ReorderOutput"):
        return []
    stem = _MADE.sub("", node.name)
    for name in (node.name, stem):
        end = producers.get(name) or by_name.get(name)
        if end is not None:
            return [_after_residual(node, end)]
    return []


def _after_residual(node: Node, end: Node) -> Node:
    """A convolution that adds a residual bears the name of the value before the addition: the addition and an activation belong to it."""
    if len(node.inputs) < 4 or node.inputs[3] is None or node.op.op_name not in ("Conv", "FusedConv") or end.op.op_name != "Conv":
        return end
    users = end.outputs[0].users()
    if len(users) != 1 or users[0].op.op_name != "Add":
        return end
    added = users[0]
    following = added.outputs[0].users()
    if dict(node.op.attributes()).get("activation") and len(following) == 1:
        return following[0]
    return added


def sources_by_kernel(optimized: Graph, original: Graph, nodes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Names of the imported model's nodes by kernel, through a bundle's debug table."""
    found: dict[str, tuple[str, ...]] = {}
    for label, names in origins(optimized, original).items():
        joined: dict[str, None] = {}
        for name in names:
            joined.update(dict.fromkeys(nodes.get(name, ())))
        found[label] = tuple(joined)
    return found
