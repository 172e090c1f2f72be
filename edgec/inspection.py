"""What `edgec inspect` says of a model: signature, parameters, work and memory, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .costmodel.memory import peak_memory, type_bytes
from .costmodel.work import graph_work, node_macs, total_of
from .ir.data import TensorData
from .ir.diagnostics import Diagnostic, code, did_you_mean
from .ir.dims import Dim, Expr, bounds
from .ir.graph import Node, Value
from .ir.model import Model
from .ir.types import OptionalType, SequenceType, TensorType, Type

SCHEMA = "edgec.inspect/1"
Ranges = Mapping[str, tuple[int, int]]

E_RANGE = code(
    "E0803",
    "a range names no dimension of the model",
    "`--range NAME=LOW:HIGH` gives the sizes that a symbolic dimension may take. `edgec inspect MODEL` lists the symbols.",
)


def inspect_model(model: Model, ranges: Ranges | None = None) -> dict[str, Any]:
    """All facts about a model as plain data; the keys are documented in docs/cli.md.

    Sizes are integers, or expressions over the symbolic dimensions as text. Bytes and MACs come with the least and the greatest value for
    the given ranges of symbols (inclusive).

    Raises:
        Diagnostic: E0803 when a range names no symbol of the model.
    """
    ranges = ranges or {}
    symbols = model_symbols(model)
    for name in ranges:
        if name not in symbols:
            hint = did_you_mean(name, symbols) if symbols else "all dimensions of the model are numbers"
            raise Diagnostic(E_RANGE, f"the model has no symbolic dimension '{name}'", hint=hint)
    graph = model.graph
    every = list(graph.walk())
    work = graph_work(graph)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "ok": True,
        "name": model.path.name if model.path is not None else graph.name,
        "ir_version": model.ir_version,
        "opsets": dict(model.opsets),
        "properties": dict(model.properties),
        "metadata": dict(model.metadata),
        "inputs": [_tensor(v.name, v.type) for v in graph.inputs],
        "outputs": [_tensor(n, v.type) for n, v in zip(graph.output_names, graph.outputs, strict=True)],
        "symbols": symbols,
        "node_count": len(every),
        "operators": _operators(every, ranges),
        "parameters": _parameters(model),
        "macs": {**_sized(work.macs, ranges), "unknown": [node.where for node in work.unknown]},
        "memory": _memory(model, ranges),
        "nodes": [_node(node, ranges) for node in every],
        "tensors": [_value(value, ranges) for value in graph.values()],
        "notes": list(model.notes),
    }
    return facts


def model_symbols(model: Model) -> list[str]:
    """The symbols of the inputs' dimensions, then those of sizes that depend on data."""
    found: dict[str, None] = {}
    for value in (*model.inputs, *model.graph.values()):
        found.update(dict.fromkeys(_type_symbols(value.type)))
    return list(found)


def input_symbols(model: Model) -> list[str]:
    """The symbols of the inputs' dimensions."""
    return list(dict.fromkeys(name for value in model.inputs for name in _type_symbols(value.type)))


def _type_symbols(type_: Type) -> list[str]:
    if isinstance(type_, SequenceType | OptionalType):
        return _type_symbols(type_.element)
    if not isinstance(type_, TensorType):
        return []
    return [name for dim in type_.shape or () if isinstance(dim, Expr) for name in dim.symbols()]


def dim_text(dim: Dim | None) -> int | str | None:
    """A dimension as plain data: a number, an expression as text, or None."""
    return dim if dim is None or isinstance(dim, int) else str(dim)


def _sized(size: Dim | None, ranges: Ranges) -> dict[str, Any]:
    """A size with its limits; an upper limit that does not exist is None."""
    if size is None:
        return {"value": None, "range": None}
    low, high = bounds(size, ranges)
    return {"value": dim_text(size), "range": _limits(low, high)}


def _limits(low: float, high: float) -> list[int | None]:
    return [None if math.isinf(x) else int(x) for x in (low, high)]


def _tensor(name: str, type_: Type) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "type": str(type_)}
    if isinstance(type_, TensorType):
        shape = None if type_.shape is None else [dim_text(d) for d in type_.shape]
        facts.update(dtype=type_.dtype.short, shape=shape)
    return facts


def _value(value: Value, ranges: Ranges) -> dict[str, Any]:
    facts = _tensor(value.name, value.type)
    if value.content is not None:
        facts["content"] = [dim_text(c) for c in value.content[:64]]
    size = _sized(type_bytes(value.type), ranges)
    producer = value.producer
    facts.update(bytes=size["value"], bytes_range=size["range"], producer=None if producer is None else _label(producer))
    facts["origins"] = list(value.origins)
    return facts


def _label(node: Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else node.op.qualified_name)


def _node(node: Node, ranges: Ranges) -> dict[str, Any]:
    size = _sized(node_macs(node), ranges)
    return {
        "name": _label(node),
        "op": node.op.qualified_name,
        "attributes": {name: _plain(value) for name, value in node.op.changed_attributes()},
        "inputs": [None if v is None else v.name for v in node.inputs],
        "outputs": [v.name for v in node.outputs],
        "macs": size["value"],
        "macs_range": size["range"],
        "sources": list(node.sources),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, TensorData):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _operators(nodes: Sequence[Node], ranges: Ranges) -> dict[str, Any]:
    """Count and MACs by operator, the most frequent first."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(node.op.qualified_name, []).append(node)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    found = {}
    for name, members in ordered:
        size = _sized(total_of(m for m in (node_macs(n) for n in members if not n.regions) if m is not None), ranges)
        found[name] = {"count": len(members), "macs": size["value"], "macs_range": size["range"]}
    return found


def _parameters(model: Model) -> dict[str, Any]:
    """Constants that carry data (shapes, axes and the like are not parameters), each counted once."""
    data: dict[int, TensorData] = {}
    carried: dict[int, TensorData] = {}
    by_dtype: dict[str, int] = {}
    for value in model.graph.constants():
        assert value.data is not None
        data[id(value.data)] = value.data
        if any(not isinstance(user, Node) or index not in user.op.shape_operands for user, index in value.uses):
            carried[id(value.data)] = value.data
    count = 0
    for held in carried.values():
        elements = math.prod(held.shape)
        count += elements
        by_dtype[held.dtype.short] = by_dtype.get(held.dtype.short, 0) + elements
    return {
        "count": count,
        "bytes": sum(d.nbytes for d in carried.values()),
        "by_dtype": dict(sorted(by_dtype.items())),
        "constant_bytes": sum(d.nbytes for d in data.values()),
        "tensors": len(carried),
    }


def _memory(model: Model, ranges: Ranges) -> dict[str, Any]:
    peak = peak_memory(model.graph)
    low, high = peak.within(ranges)
    return {
        "peak_activation_bytes": dim_text(peak.bytes) if peak.readable else None,
        "range": _limits(low, high),
        "moments": [{"bytes": dim_text(size), "node": where} for size, where in peak.moments],
        "unknown": list(peak.unknown),
    }
