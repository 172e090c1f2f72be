"""The other way to run a node: on operands in other forms. Handlers for the operators register here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.graph import Graph, Node, Value, constant, int64s
from ...ir.op import Op
from .forms import Form

Build = Callable[["Builder", Sequence[Any]], Any]


@dataclass(frozen=True)
class Port:
    """Where a wanted form meets a node.

    Attributes:
        index: position of the operand or result.
        is_result: whether it is a result.
        form: the form that the neighbourhood prefers there.
    """

    index: int
    is_result: bool
    form: Form


@dataclass(frozen=True)
class Alternate:
    """How a node runs on operands in other forms.

    Attributes:
        operands: the form that each operand is wanted in; None takes it as it is written.
        results: the form of each result.
        build: builds the node from the operands in these forms; gives one value or a tuple.
        gain: bytes that running so saves (costs, when negative) against the node as written, apart from moving operands.
    """

    operands: tuple[Form | None, ...]
    results: tuple[Form | None, ...]
    build: Build
    gain: int = 0


class Builder:
    """Inserts nodes before an anchor and hands on the debug handles of the node they stand for."""

    def __init__(self, anchor: Node | None, graph: Graph, sources: tuple[str, ...], name: str = "") -> None:
        self.anchor, self.graph, self.sources, self.name = anchor, graph, sources, name

    def add(self, op: Op, *operands: Value | None, outputs: int | None = None, regions: Sequence[Graph] = ()) -> Any:
        """Apply an operator; gives its result, or the tuple of results when there are several."""
        node = self.graph.insert(op, operands, before=self.anchor, outputs=outputs, regions=regions, name=self.name)
        node.sources = self.sources
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def ints(self, values: Sequence[int]) -> Value:
        """A one-dimensional int64 constant."""
        return int64s(values, self.graph.fresh_name("constant"))

    def array(self, array: Any, like: Value) -> Value:
        """A constant of the element type of another value."""
        return constant(np.ascontiguousarray(array), self.graph.fresh_name("constant"), like.tensor.dtype)


Handler = Callable[[Node, Port], Alternate | None]
HANDLERS: dict[type[Op], Handler] = {}


def alternates(*classes: type[Op]) -> Callable[[Handler], Handler]:
    """Declare the handler of some operator classes and their subclasses."""

    def register(handler: Handler) -> Handler:
        for cls in classes:
            HANDLERS[cls] = handler
        return handler

    return register


def propose(node: Node, port: Port) -> Alternate | None:
    """How a node would run with the form of ``port`` at that operand or result; None when it cannot."""
    if node.regions or any(v.shape is None or None in v.shape for v in (*node.outputs, *node.inputs) if v is not None):
        return None
    for cls in type(node.op).__mro__:
        handler = HANDLERS.get(cls)
        if handler is not None:
            return handler(node, port)
    return None
