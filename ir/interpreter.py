"""Execution of graphs with the operators' own `evaluate`: the oracle of tests and of verification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .data import Array
from .diagnostics import E_EVALUATE, Diagnostic, code, did_you_mean
from .dims import Expr
from .dtypes import DType
from .graph import Graph, Node, Value
from .model import Model
from .types import SequenceType, TensorType

E_FEEDS = code(
    "E0221",
    "the feeds do not fit the model's inputs",
    "An input is missing, unknown, or has another element type, rank or size than the model declares. `edgec inspect MODEL` prints the "
    "inputs with their types.",
)

Watch = Callable[[Value, Any], None]


def interpret(graph_or_model: Graph | Model, feeds: Mapping[str, Any], *, watch: Watch | None = None) -> dict[str, Array]:
    """Run a graph on arrays.

    Args:
        graph_or_model: what to run; control flow, sequences (lists) and optionals (None when empty) included.
        feeds: an array for each graph input, by name.
        watch: called with every computed value and its array, in order of execution (values inside a loop once per iteration).

    Returns:
        The outputs under ``graph.output_names``.

    Raises:
        Diagnostic: the feeds do not fit, or a node cannot be evaluated on its operands; it names the input or node.
    """
    graph = graph_or_model.graph if isinstance(graph_or_model, Model) else graph_or_model
    machine = _Machine(watch)
    for value, array in zip(graph.inputs, check_feeds(graph, feeds), strict=True):
        machine.memory[value] = array
    with np.errstate(all="ignore"):
        results = machine.run(graph)
    return dict(zip(graph.output_names, results, strict=True))


def check_feeds(graph: Graph, feeds: Mapping[str, Any]) -> list[Any]:
    """The feeds as arrays in the order of the graph's inputs, after checking names, element types, ranks and sizes.

    A symbol must stand for the same size wherever it occurs.
    """
    names = [value.name for value in graph.inputs]
    for name in feeds:
        if name not in names:
            raise Diagnostic(E_FEEDS, f"the model has no input '{name}'", f"input '{name}'", did_you_mean(name, names))
    arrays: list[Any] = []
    sizes: dict[str, int] = {}
    for value in graph.inputs:
        where = f"input '{value.name}'"
        if value.name not in feeds:
            raise Diagnostic(E_FEEDS, f"no feed for {value!r}", where, f"feed all of: {', '.join(names)}")
        array = feeds[value.name]
        if isinstance(value.type, TensorType):
            array = np.asarray(array)
            array = array.astype(np.object_) if array.dtype.kind in "US" else array
            _check_tensor(value.type, array, where, sizes)
        elif isinstance(value.type, SequenceType) and not isinstance(array, list | tuple):
            raise Diagnostic(E_FEEDS, f"a list of arrays is needed for {value.type}, not {type(array).__name__}", where)
        arrays.append(list(array) if isinstance(array, tuple) else array)
    return arrays


def _check_tensor(type_: TensorType, array: Array, where: str, sizes: dict[str, int]) -> None:
    given = f"{_name_of(array)}{list(array.shape)}"
    if array.dtype != type_.dtype.numpy:
        raise Diagnostic(E_FEEDS, f"{type_} is needed, not {given}", where, f"convert it to {type_.dtype.numpy}")
    if type_.shape is None:
        return
    if len(type_.shape) != array.ndim:
        raise Diagnostic(E_FEEDS, f"{type_} is needed, not {given}: the ranks differ", where)
    for dim, size in zip(type_.shape, array.shape, strict=True):
        if isinstance(dim, Expr):
            name = dim.symbol_name
            if name is not None:
                dim = sizes.setdefault(name, size)
                if dim != size:
                    raise Diagnostic(E_FEEDS, f"dimension '{name}' is {dim} in another input, here it is {size}", where)
                continue
            dim = dim.substitute(sizes)
        if isinstance(dim, int) and dim != size:
            raise Diagnostic(E_FEEDS, f"{type_} is needed, not {given}", where)


def _name_of(array: Any) -> str:
    try:
        return DType.from_numpy(array.dtype).short
    except KeyError:
        return str(array.dtype)


class _RegionRunner:
    """A region as a callable from input arrays to output arrays.

    Attributes:
        graph: the region.
    """

    def __init__(self, machine: _Machine, graph: Graph) -> None:
        self._machine, self.graph = machine, graph

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        memory = self._machine.memory
        for value, array in zip(self.graph.inputs, arrays, strict=True):
            memory[value] = array
        results = self._machine.run(self.graph)
        for value in self.graph.inputs:
            memory.pop(value, None)
        return results


class _Machine:
    """The arrays that are alive, shared by a graph and its regions, which therefore see the values around them."""

    def __init__(self, watch: Watch | None) -> None:
        self.memory: dict[Value, Any] = {}
        self.watch = watch
        self._plans: dict[Graph, dict[Node, list[Value]]] = {}

    def run(self, graph: Graph) -> tuple[Any, ...]:
        plan = self._plans.get(graph)
        if plan is None:
            plan = self._plans[graph] = _last_uses(graph)
        memory = self.memory
        for node in graph:
            self._step(node)
            for value in plan.get(node, ()):
                memory.pop(value, None)
        results = tuple(self._read(value) for value in graph.outputs)
        for value in graph.outputs:
            if value.producer is not None and value.producer.graph is graph:
                memory.pop(value, None)
        return results

    def _read(self, value: Value | None) -> Any:
        if value is None:
            return None
        return value.data.numpy() if value.data is not None else self.memory[value]

    def _step(self, node: Node) -> None:
        operands = [self._read(value) for value in node.inputs]
        try:
            if node.regions:
                results = node.op.evaluate(*operands, regions=[_RegionRunner(self, r) for r in node.regions])
            else:
                results = node.op.evaluate(*operands)
        except Diagnostic as error:
            if not error.where:
                error.where = node.where
            raise
        except Exception as error:
            described = ", ".join(_describe(o) for o in operands)
            message = f"evaluation fails: {type(error).__name__}: {error}"
            raise Diagnostic(E_EVALUATE, message, node.where, notes=[f"the operands are {described}"]) from error
        if not isinstance(results, tuple):
            results = (results,)
        if len(results) < len(node.outputs):
            message = f"evaluation gives {len(results)} of {len(node.outputs)} results"
            raise Diagnostic(E_EVALUATE, message, node.where)
        for value, result in zip(node.outputs, results, strict=False):
            if isinstance(value.type, TensorType):
                result = np.asarray(result)
                if result.dtype != value.type.dtype.numpy:
                    message = f"evaluation gives {_name_of(result)} for '{value.name}', inference says {value.type.dtype}"
                    raise Diagnostic(E_EVALUATE, message, node.where)
            self.memory[value] = result
            if self.watch is not None:
                self.watch(value, result)


def _describe(operand: Any) -> str:
    if operand is None:
        return "absent"
    if isinstance(operand, list):
        return f"a sequence of {len(operand)}"
    return f"{_name_of(operand)}{list(operand.shape)}"


def _last_uses(graph: Graph) -> dict[Node, list[Value]]:
    """For each node, the values of this graph that nothing reads after it (reads inside its regions count as the node's)."""
    last: dict[Value, Node] = {}
    for node in graph:
        for value in node.outputs:
            last[value] = node
        for value in _operands(node):
            last[value] = node
    kept = set(graph.outputs)
    plan: dict[Node, list[Value]] = {}
    for value, node in last.items():
        owner = value.graph if value.producer is None else value.producer.graph
        if owner is graph and value not in kept and not (value.is_input and graph.parent is not None):
            plan.setdefault(node, []).append(value)
    return plan


def _operands(node: Node) -> list[Value]:
    found = [value for value in node.inputs if value is not None]
    for region in node.regions:
        found += region.outputs
        for inner in region:
            found += _operands(inner)
    return found
