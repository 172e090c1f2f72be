"""Printing graphs: one line a node, attributes that differ from their defaults, large constants in a section at the end."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..data import TensorData, content_digest
from ..dtypes import DType
from ..graph import Graph, Node, Value
from ..model import Model
from ..op import Op, Opaque
from ..types import OptionalType, SequenceType, TensorType, Type, UnknownType
from .dims import format_dim
from .lexer import BARE_VALUE, IDENTIFIER

FORMAT = 1
INLINE_LIMIT = 16  # elements of a constant that is written where it stands
CONTENT_SHOWN = 32  # elements of a type's known content that are written
_BARE = re.compile(BARE_VALUE)
_IDENTIFIER = re.compile(IDENTIFIER)


def print_graph(item: Graph | Model, *, elide: bool = False, details: bool = True, inline_limit: int = INLINE_LIMIT) -> str:
    """The textual form of a graph or model; `parse_model` reads it back exactly.

    Args:
        item: what to print.
        elide: print only the digest of large constants, for reading; such a text does not parse back.
        details: print node names, sources, origins and metadata too; without them the text parses, but to a graph without debug handles.
        inline_limit: constants up to this number of elements are written in place (texts always are).
    """
    printer = _Printer(elide, details, inline_limit)
    lines = [f"edgec {FORMAT}"]
    graph = item
    if isinstance(item, Model):
        lines += _header(item)
        graph = item.graph
    assert isinstance(graph, Graph)
    lines.append("")
    lines += printer.graph(graph, f"graph {_name(graph.name)}", "")
    if printer.resources:
        lines += ["", "resources {"]
        for digest, data in printer.resources.items():
            lines.append(f'  {digest} = b64"')
            encoded = base64.b64encode(bytes(data.raw())).decode("ascii")
            lines += [f"    {encoded[i : i + 100]}" for i in range(0, len(encoded), 100)]
            lines.append('  "')
        lines.append("}")
    return "\n".join(lines) + "\n"


def _header(model: Model) -> list[str]:
    lines = [f"opsets {format_plain(model.opsets)}", f"ir_version {model.ir_version}"]
    if model.metadata:
        lines.append(f"metadata {format_plain(model.metadata)}")
    if model.properties:
        lines.append(f"properties {format_plain(model.properties)}")
    if model.custom_op_libraries:
        lines.append(f"custom_op_libraries {format_plain(list(model.custom_op_libraries))}")
    return lines


def format_plain(data: Any) -> str:
    """Plain data (texts, numbers, lists, mappings) as one line of JSON."""
    return json.dumps(data, default=str)


def _name(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def format_type(type_: Type, *, content: bool = True) -> str:
    """A type as text, with its known content (``i64[2]{batch, 3}``) unless told otherwise."""
    if isinstance(type_, TensorType):
        if type_.shape is None:
            return f"{type_.dtype}[*]"
        text = f"{type_.dtype}[{', '.join(_dim(d) for d in type_.shape)}]"
        if content and type_.content is not None and len(type_.content) <= CONTENT_SHOWN:
            text += "{" + ", ".join(_dim(c) for c in type_.content) + "}"
        return text
    if isinstance(type_, SequenceType | OptionalType):
        kind = "seq" if isinstance(type_, SequenceType) else "optional"
        return f"{kind}<{format_type(type_.element, content=content)}>"
    if isinstance(type_, UnknownType):
        return "unknown"
    raise TypeError(f"no textual form for the type {type_!r}")


def _dim(dim: Any) -> str:
    return "?" if dim is None else str(dim) if type(dim) is int else format_dim(dim)


class _Names:
    """Unique printed names: a value keeps its own name where that is not taken."""

    def __init__(self, graph: Graph) -> None:
        self.given: dict[Value, str] = {}
        self.taken: set[str] = set()
        values = [*graph.values(), *graph.constants()]
        for value in values:
            if value.name and value.name not in self.taken:
                self._give(value, value.name)
        for value in values:
            if value not in self.given and (value.name or value.uses or value.is_input):
                stem, number = value.name or "v", 0
                while f"{stem}_{number}" in self.taken:
                    number += 1
                self._give(value, f"{stem}_{number}")

    def _give(self, value: Value, name: str) -> None:
        self.given[value] = name
        self.taken.add(name)


class _Printer:
    def __init__(self, elide: bool, details: bool, inline_limit: int) -> None:
        self.elide, self.details, self.inline_limit = elide, details, inline_limit
        self.resources: dict[str, TensorData] = {}
        self.names: _Names | None = None
        self.declared: set[Value] = set()

    # -- graphs and nodes --------------------------------------------------------------------------------------------
    def graph(self, graph: Graph, head: str, indent: str) -> list[str]:
        if self.names is None:
            self.names = _Names(graph)
        lines = [f"{indent}{head} {{"]
        inner = indent + "  "
        for value in graph.inputs:
            lines.append(f"{inner}input {self._declaration(value)}")
        for node in graph:
            lines += self._constants(node.inputs, inner)
            lines += self._node(node, inner)
        lines += self._constants(graph.outputs, inner)
        lines.append(f"{inner}return{self._returns(graph)}")
        lines.append(f"{indent}}}")
        return lines

    def _returns(self, graph: Graph) -> str:
        parts = []
        for index, value in enumerate(graph.outputs):
            text = self._reference(value)
            if index < len(graph.output_names) and graph.output_names[index] != self._printed(value):
                text += f" as {json.dumps(graph.output_names[index])}"
            parts.append(text)
        return " " + ", ".join(parts) if parts else ""

    def _node(self, node: Node, indent: str) -> list[str]:
        results = ", ".join(self._declaration(v) for v in node.outputs)
        operands = ["none" if v is None else self._reference(v) for v in node.inputs]
        operands += [f"{_name(name)} = {self.attribute(value)}" for name, value in node.op.changed_attributes()]
        line = f"{indent}{results} = {self._operator(node.op)}({', '.join(operands)})"
        if self.details:
            line += self._handle(node)
        if not node.regions:
            return [line]
        lines = [line + " {"]
        for label, region in zip(_region_labels(node), node.regions, strict=True):
            lines += self.graph(region, f"{_name(label)} {_name(region.name)}", indent + "  ")
        return [*lines, indent + "}"]

    def _handle(self, node: Node) -> str:
        line = ""
        if node.name:
            line += f" @{json.dumps(node.name)}"
        if node.sources != ((node.name,) if node.name else ()):
            line += f" from {json.dumps(list(node.sources))}"
        if node.metadata:
            line += f" meta {format_plain(node.metadata)}"
        return line

    def _operator(self, op: Op) -> str:
        if not isinstance(op, Opaque):
            return op.qualified_name
        parts = [json.dumps(op.op_domain), json.dumps(op.type_name), str(op.version)]
        parts += [format_type(t) for t in op.result_types]
        return f"Opaque<{', '.join(parts)}>"

    def _constants(self, values: Iterable[Value | None], indent: str) -> Iterator[str]:
        for value in values:
            if value is None or value.data is None or value in self.declared:
                continue
            self.declared.add(value)
            yield f"{indent}{self._reference(value)}{self._origins(value.origins, ())} = const {self.tensor(value.data)}"

    def _declaration(self, value: Value) -> str:
        assert self.names is not None
        if value not in self.names.given:
            return f"_: {format_type(value.type)}{self._origins(value.origins, ())}"
        name = self._printed(value)
        return f"{self._reference(value)}: {format_type(value.type)}{self._origins(value.origins, (name,))}"

    def _origins(self, origins: tuple[str, ...], usual: tuple[str, ...]) -> str:
        return "" if origins == usual or not self.details else f" from {json.dumps(list(origins))}"

    def _printed(self, value: Value) -> str:
        assert self.names is not None
        found = self.names.given.get(value)
        return found if found is not None else f"undefined:{value.name}"

    def _reference(self, value: Value) -> str:
        name = self._printed(value)
        return f"%{name}" if _BARE.fullmatch(name) else f"%{json.dumps(name)}"

    # -- attributes and data -----------------------------------------------------------------------------------------
    def attribute(self, value: Any) -> str:
        """An attribute value as text."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(int(value))
        if isinstance(value, float):
            return format_float(float(value))
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, bytes):
            return f'hex"{value.hex()}"'
        if isinstance(value, tuple | list):
            return "[" + ", ".join(self.attribute(v) for v in value) + "]"
        if isinstance(value, DType):
            return value.short
        if isinstance(value, TensorType | SequenceType | OptionalType | UnknownType):
            return f"type {format_type(value)}"
        if isinstance(value, TensorData):
            return f"const {self.tensor(value)}"
        raise TypeError(f"no textual form for an attribute of type {type(value).__name__}")

    def tensor(self, data: TensorData) -> str:
        """A constant: ``f32[2] [1.0, 2.0]``, or its digest when it is large."""
        head = f"{data.dtype}[{', '.join(map(str, data.shape))}]"
        count = 1
        for dim in data.shape:
            count *= dim
        if count <= self.inline_limit or (data.dtype is DType.STRING and not self.elide):
            return f"{head} {_elements(data)}"
        digest = content_digest(data).hex()
        if self.elide:
            return f'{head} elided "{digest}"'
        self.resources[f'"{digest}"'] = data
        return f'{head} resource "{digest}"'


def _region_labels(node: Node) -> list[str]:
    names = node.op.region_names
    return [names[i] if i < len(names) else f"region{i}" for i in range(len(node.regions))]


def format_float(value: float) -> str:
    """A number that is recognisably not an integer: ``1.0``, ``1e-05``, ``inf``, ``nan``."""
    return repr(value)


def _elements(data: TensorData) -> str:
    flat = data.numpy().reshape(-1)
    if data.dtype is DType.STRING:
        return json.dumps([_as_text(s) for s in flat.tolist()])
    if data.dtype is DType.BOOL:
        return "[" + ", ".join("true" if x else "false" for x in flat.tolist()) + "]"
    if data.dtype.is_integer:
        return "[" + ", ".join(str(int(x)) for x in flat.tolist()) + "]"
    if data.dtype is DType.FLOAT:
        texts = [str(x) if x == x else "nan" for x in flat]  # numpy's shortest text of the single-precision number
        if "nan" not in texts:
            return "[" + ", ".join(texts) + "]"
    elif data.dtype.is_float:
        numbers = [float(x) for x in flat]
        if all(x == x for x in numbers):
            return "[" + ", ".join(map(format_float, numbers)) + "]"
    return f'hex"{bytes(data.raw()).hex()}"'  # payloads of NaNs and complex numbers are kept bit by bit


def _as_text(item: Any) -> str:
    return item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item)
