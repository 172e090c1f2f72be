"""Parsing the textual form."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from typing import Any

from ..diagnostics import Diagnostic, did_you_mean
from ..graph import Graph, Value, constant
from ..model import Model
from ..op import OPS, Op, Opaque, attribute_names, infer_types
from ..types import TensorType, Type, refine
from .lexer import Source, Token
from .printer import CONTENT_SHOWN, FORMAT
from .values import ValueReader

_SERIAL = re.compile(r"_e([0-9]+)\Z")
_MAX_DEPTH = 64


def parse_model(text: str, *, name: str = "text") -> Model:
    """Read a model (or a bare graph) from its textual form.

    Args:
        text: what `print_graph` gave, or the same written by hand: types of results may be left out, they are then inferred.
        name: how diagnostics name the text, usually a file.

    Raises:
        Diagnostic: E0206 with line and column for a malformed text; the operator's own code when operands do not fit.
    """
    from importlib import import_module

    import_module("..ops", __package__)  # registers the operators
    return _Parser(Source(text, name)).model()


class _Parser(ValueReader):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.scopes: list[dict[str, Value]] = []
        self.constants: dict[str, Value] = {}
        self.serial = 0

    def model(self) -> Model:
        self.expect("edgec")
        version = self.expect_kind("number", "the version of the format")
        if version.text != str(FORMAT):
            self.fail(f"format {version.text} is not known here, only {FORMAT}", version)
        facts: dict[str, Any] = {}
        while self.peek().text != "graph":
            token = self.expect_kind("identifier", "'graph'")
            readers = {
                "opsets": self.plain,
                "ir_version": self._integer,
                "metadata": self.plain,
                "properties": self.plain,
                "custom_op_libraries": self.strings,
            }
            if token.text not in readers:
                self.fail(f"unknown heading '{token.text}'", token, did_you_mean(token.text, [*readers, "graph"]))
            facts[token.text] = readers[token.text]()
        self.expect("graph")
        graph = self._graph()
        self._resources()
        if self.peek().kind != "end":
            self.fail(f"expected the end {self.found()}")
        graph._serial = self.serial
        return Model(graph, **facts)

    def _resources(self) -> None:
        if self.accept("resources"):
            self.expect("{")
            while not self.accept("}"):
                self.string("the digest of a resource")
                self.expect("=")
                self.expect_kind("base64", 'the contents b64"…"')

    # -- graphs ------------------------------------------------------------------------------------------------------
    def _graph(self) -> Graph:
        if len(self.scopes) >= _MAX_DEPTH:
            self.fail("graphs are nested too deeply")
        graph = Graph(self.word("the graph's name"))
        self.expect("{")
        self.scopes.append({})
        while self.accept("input"):
            self._input(graph)
        while self.peek().text != "return":
            self._statement(graph)
        self.expect("return")
        outputs: list[Value] = []
        names: list[str] = []
        while self.peek().kind == "value":
            token = self.peek()
            outputs.append(self._lookup())
            names.append(self.string("the output's name") if self.accept("as") else self._value_name(token))
            if not self.accept(","):
                break
        self.expect("}")
        graph.set_outputs(outputs, names)
        self.scopes.pop()
        return graph

    def _input(self, graph: Graph) -> None:
        token = self.expect_kind("value", "an input such as %x")
        self.expect(":")
        value = graph.add_input(self._value_name(token), self.type())
        value.origins = self._origins((value.name,))
        self._define(token, value)

    def _origins(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        return self.strings() if self.accept("from") else usual

    def _value_name(self, token: Token) -> str:
        return json.loads(token.text[1:]) if token.text.startswith('%"') else token.text[1:]

    def _define(self, token: Token, value: Value) -> None:
        if value.name in self.constants or any(value.name in scope for scope in self.scopes):
            self.fail(f"%{value.name} is defined twice", token)
        self.scopes[-1][value.name] = value
        serial = _SERIAL.search(value.name)
        if serial is not None:
            self.serial = max(self.serial, int(serial.group(1)))

    def _lookup(self) -> Value:
        token = self.take()
        name = self._value_name(token)
        for scope in (*reversed(self.scopes), self.constants):
            if name in scope:
                return scope[name]
        known = [n for scope in self.scopes for n in scope]
        hint = did_you_mean(name, known) if known else ""
        self.fail(f"%{name} is not defined before its use", token, hint if hint.startswith("did") else "")

    # -- statements --------------------------------------------------------------------------------------------------
    def _statement(self, graph: Graph) -> None:
        start = self.peek()
        if start.kind != "value" and start.text != "_":
            self.fail(f"expected a statement or 'return' {self.found()}", start)
        results: list[tuple[Token, Type | None, tuple[str, ...] | None]] = []
        while True:
            results.append(self._result())
            if not self.accept(","):
                break
        self.expect("=")
        if self.accept("const"):
            self._constant(results)
            return
        operator = self.peek()
        op, operands = self._application()
        node_name = self.string("the node's name") if self.accept("@") else ""
        sources = self.strings() if self.accept("from") else ((node_name,) if node_name else ())
        metadata = self.plain() if self.accept("meta") else {}
        op, regions = self._regions(op, operator)
        names = ["" if token.text == "_" else self._value_name(token) for token, _, _ in results]
        where = f"{self.source.place(operator.offset)}, node '{node_name or names[0]}' ({op.qualified_name})"
        inferred = infer_types(op, [None if v is None else v.type for v in operands], len(results), regions, where)
        types = [self._settle(t, d, token) for t, (token, d, _) in zip(inferred, results, strict=True)]
        node = graph.insert(op, operands, outputs=len(results), regions=regions, names=names, name=node_name, types=types)
        node.sources, node.metadata = sources, metadata
        for value, (token, _, origins) in zip(node.outputs, results, strict=True):
            value.origins = origins if origins is not None else (value.name,) if value.name else ()
            if value.name:
                self._define(token, value)

    def _result(self) -> tuple[Token, Type | None, tuple[str, ...] | None]:
        token = self.take()
        if token.kind != "value" and token.text != "_":
            self.fail(f"expected a result such as %x but found '{token.text[:40]}'", token)
        declared = self.type() if self.accept(":") else None
        return token, declared, self.strings() if self.accept("from") else None

    def _constant(self, results: list[tuple[Token, Type | None, tuple[str, ...] | None]]) -> None:
        token, declared, origins = results[0]
        if len(results) != 1 or declared is not None or token.text == "_":
            self.fail("a constant is one named value whose type follows 'const'", token)
        value = constant(self.tensor(), self._value_name(token))
        value.origins = origins or ()
        self._define(token, value)
        del self.scopes[-1][value.name]
        self.constants[value.name] = value  # constants belong to no graph: later graphs may read them too

    def _settle(self, inferred: Type, declared: Type | None, token: Token) -> Type:
        """The declared type if there is one; contents too long to be printed come from inference."""
        if declared is None:
            return inferred
        if refine(inferred, declared) is None:
            self.fail(f"{token.text} is declared as {declared}, but the operator gives {inferred}", token)
        if (
            isinstance(declared, TensorType)
            and declared.content is None
            and isinstance(inferred, TensorType)
            and inferred.content is not None
            and len(inferred.content) > CONTENT_SHOWN
        ):
            return TensorType(declared.dtype, declared.shape, inferred.content)
        return declared

    # -- operators ---------------------------------------------------------------------------------------------------
    def _application(self) -> tuple[Op, list[Value | None]]:
        token = self.expect_kind("identifier", "an operator")
        opaque: tuple[str, str, int, tuple[Type, ...]] | None = None
        if token.text == "Opaque" and self.accept("<"):
            opaque = self._opaque_head()
        self.expect("(")
        operands: list[Value | None] = []
        attributes: dict[str, Any] = {}
        for item in self.separated(self._argument, ")"):
            if isinstance(item, tuple):
                attributes[item[0]] = item[1]
            elif attributes:
                self.fail("operands stand before attributes", token)
            else:
                operands.append(item)
        if opaque is not None:
            domain, name, version, types = opaque
            return Opaque(domain, name, version, tuple(attributes.items()), (), types), operands
        return self._typed(token, attributes), operands

    def _opaque_head(self) -> tuple[str, str, int, tuple[Type, ...]]:
        domain = self.string("the operator's domain")
        self.expect(",")
        name = self.string("the operator's name")
        self.expect(",")
        version = self._integer()
        types = tuple(self.separated(self.type, ">")) if self.accept(",") else ()
        if not types:
            self.expect(">")
        return domain, name, version, types

    def _argument(self) -> Any:
        token = self.peek()
        if token.kind == "value":
            return self._lookup()
        following = self.stream[self.position + 1]
        if token.text == "none" and following.text != "=":
            self.take()
            return None
        name = self.word("an operand such as %x or an attribute")
        self.expect("=")
        return name, self.attribute()

    def _typed(self, token: Token, attributes: dict[str, Any]) -> Op:
        domain, _, name = token.text.rpartition(".")
        cls = OPS.get((domain, name))
        if cls is None:
            known = [f"{d}.{n}" if d else n for d, n in OPS]
            hint = did_you_mean(token.text, known)
            self.fail(f"unknown operator {token.text}", token, hint if hint.startswith("did") else "")
        declared = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
        for key, value in attributes.items():
            if key not in declared:
                self.fail(f"{token.text} has no attribute '{key}'", token, did_you_mean(key, list(attribute_names(cls))))
            if type(value) is int and str(declared[key].type).startswith("float"):
                attributes[key] = float(value)
        missing = [f.name for f in declared.values() if f.default is MISSING and f.name not in attributes]
        if missing:
            self.fail(f"{token.text} needs the attribute '{missing[0]}'", token)
        try:
            return cls(**attributes)
        except Diagnostic as error:
            error.where = error.where or self.source.place(token.offset)
            raise

    def _regions(self, op: Op, operator: Token) -> tuple[Op, list[Graph]]:
        if not self.accept("{"):
            if op.region_names:
                self.fail(f"{op.qualified_name} needs its graphs {', '.join(op.region_names)}", operator)
            return op, []
        labels: list[str] = []
        regions: list[Graph] = []
        while not self.accept("}"):
            token = self.peek()
            labels.append(self.word("the name of a region"))
            if not isinstance(op, Opaque) and labels[-1] not in op.region_names:
                self.fail(f"{op.qualified_name} has no graph '{labels[-1]}'", token)
            regions.append(self._graph())
        if isinstance(op, Opaque):
            return Opaque(op.op_domain, op.type_name, op.version, op.attrs, tuple(labels), op.result_types), regions
        if tuple(labels) != op.region_names:
            self.fail(f"{op.qualified_name} takes the graphs {', '.join(op.region_names)} in this order", operator)
        return op, regions
