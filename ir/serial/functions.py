"""Inlining of a model's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..diagnostics import Diagnostic
from .attribute_kinds import GRAPH, GRAPHS
from .codes import E_CYCLE, E_NOT_ONNX, E_TOO_LARGE

MAX_NODES = 5_000_000
_Key = tuple[str, str, str]


def inline_functions(proto: Any, where: str) -> Any:
    """The ModelProto with every call of a model-local function replaced by its body.

    Raises:
        Diagnostic: a function calls itself, the calls multiply beyond `MAX_NODES` nodes, or a body does not fit its calls.
    """
    from onnx import inliner

    _check_calls(proto, where)
    try:
        return inliner.inline_local_functions(proto, convert_version=True)
    except Exception as error:  # the checker and the converter behind it have exceptions of their own
        raise Diagnostic(E_NOT_ONNX, f"the model's functions cannot be inlined: {error}", where) from error


def _key(function: Any) -> _Key:
    return _domain(function.domain), function.name, function.overload


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _check_calls(proto: Any, where: str) -> None:
    """Refuse what would recurse without end or grow without bound."""
    functions = {_key(f): f for f in proto.functions}
    calls: dict[_Key, list[_Key]] = {}
    sizes: dict[_Key, int] = {}
    for key, function in functions.items():
        calls[key], sizes[key] = _calls(function.node, functions)
        for node in _walk(function.node):
            called = functions.get(_called(node))
            if called is not None:
                _check_call(node, called, where)
    for node in _walk(proto.graph.node):
        called = functions.get(_called(node))
        if called is not None:
            _check_call(node, called, where)
    expanded = _expand(calls, sizes, where)
    called_by_main, size = _calls(proto.graph.node, functions)
    total = size + sum(expanded[key] for key in called_by_main)
    if total > MAX_NODES:
        raise Diagnostic(E_TOO_LARGE, f"the model's functions expand to {total} nodes (at most {MAX_NODES} are taken)", where)


def _check_call(node: Any, function: Any, where: str) -> None:
    place = f"{where}, node '{node.name or ''.join(node.output[:1])}' ({node.op_type})"
    for what, given, declared in (("operands", node.input, function.input), ("results", node.output, function.output)):
        if len(given) > len(declared):
            raise Diagnostic(E_NOT_ONNX, f"the function '{function.name}' has {len(declared)} {what}, the call names {len(given)}", place)


def _called(node: Any) -> _Key:
    return _domain(node.domain), node.op_type, node.overload


def _calls(nodes: Any, functions: dict[_Key, Any]) -> tuple[list[_Key], int]:
    found: list[_Key] = []
    count = 0
    for node in _walk(nodes):
        count += 1
        key = _called(node)
        if key in functions:
            found.append(key)
    return found, count


def _walk(nodes: Any) -> Iterator[Any]:
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            yield node
            for attribute in node.attribute:
                if attribute.type == GRAPH:
                    waiting.append(attribute.g.node)
                elif attribute.type == GRAPHS:
                    waiting.extend(g.node for g in attribute.graphs)


def _expand(calls: dict[_Key, list[_Key]], sizes: dict[_Key, int], where: str) -> dict[_Key, int]:
    """The number of nodes each function expands to; callees before callers."""
    expanded: dict[_Key, int] = {}
    for root in calls:
        path: list[_Key] = [root]
        on_path = {root}
        while path:
            key = path[-1]
            missing = next((c for c in calls[key] if c not in expanded), None)
            if missing is None:
                expanded[key] = sizes[key] + sum(expanded[c] for c in calls[key])
                on_path.discard(path.pop())
            elif missing in on_path:
                raise Diagnostic(E_CYCLE, f"the function '{missing[1]}' calls itself", where, "export the model without recursion")
            else:
                path.append(missing)
                on_path.add(missing)
    return expanded
