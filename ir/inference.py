"""Types of a whole graph: inference in order through regions, and binding of symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .diagnostics import E_DTYPE, E_SHAPE, Diagnostic, did_you_mean
from .dims import Dim
from .graph import Graph, Node, Value
from .model import Model
from .op import Opaque
from .ops.joining import join
from .types import TensorType, Type, UnknownType, bind, name_unknown_dims, refine

Bindable = TypeVar("Bindable", Graph, Model)


def infer_graph(graph: Graph, notes: list[str] | None = None) -> None:
    """Infer all types again, in order and through all regions; the more precise of the inferred and the stored type is kept.

    Args:
        graph: the graph.
        notes: if given, a stored shape that contradicts inference is replaced and noted here instead of being an error.

    Raises:
        Diagnostic: an operator rejects its operands, or an inferred type contradicts the stored one; it names the node and both types.
    """
    for node in graph:
        infer_node(node, notes)


def infer_node(node: Node, notes: list[str] | None = None) -> None:
    """Infer the types of one node's results (and of everything inside its regions) and refine the stored types, as `infer_graph` does."""
    if node.regions:
        _infer_regions(node, notes)
    for value, inferred in zip(node.outputs, node.infer(), strict=True):
        stored = value.type
        if inferred == stored and type(inferred) is TensorType:
            value.type = inferred  # equal but perhaps with more content
            continue
        merged = refine(inferred, stored)
        if merged is None:
            contradiction = _contradiction(value, inferred, stored, node.where)
            if notes is None or contradiction.code != E_SHAPE:
                raise contradiction
            notes.append(f"{contradiction.message}; the declaration is ignored")
            merged = inferred
        value.type = name_unknown_dims(merged, value.name)


def _contradiction(value: Value, inferred: Type, stored: Type, where: str) -> Diagnostic:
    same = isinstance(inferred, TensorType) and isinstance(stored, TensorType) and inferred.dtype is stored.dtype
    return Diagnostic(
        E_SHAPE if same else E_DTYPE,
        f"'{value.name}' has the type {stored}, but its operator gives {inferred}",
        where,
        hint="the declared type, or the binding of a dimension, is wrong",
    )


def _infer_regions(node: Node, notes: list[str] | None) -> None:
    """Give the inputs of a node's regions their types, then infer the regions.

    A value that a loop carries may change its shape from one iteration to the next. Its type is widened, and the body inferred again,
    until the type admits what every iteration returns.
    """
    rule: Any = getattr(node.op, "region_inputs", None)
    operands = [None if v is None else v.type for v in node.inputs]
    dead = dead_regions(node)
    for index, region in enumerate(node.regions):
        if index in dead:
            continue
        if rule is None or len(rule(operands, index)) != len(region.inputs):
            infer_graph(region, notes)  # the operator's own rule reports a wrong number of inputs
            continue
        types = rule(operands, index)
        while True:
            for value, type_ in zip(region.inputs, types, strict=True):
                value.type = _input_type(value, type_)
            infer_graph(region, notes)
            returned = rule(operands, index, [v.type for v in region.outputs])
            wider = [join(a, b, "loop-carried values") for a, b in zip(types, returned, strict=True)]
            if wider == types and [_known(t) for t in wider] == [_known(t) for t in types]:
                break
            types = wider
            _forget_shapes(region)


def _known(type_: Type) -> Any:
    """What is known of the elements; types that differ in it compare equal."""
    return (type_.content, type_.numbers) if isinstance(type_, TensorType) else None


def dead_regions(node: Node) -> tuple[int, ...]:
    """The positions of the node's regions that never run, as far as its operands tell; their types are not inferred or checked."""
    rule: Any = getattr(node.op, "dead_regions", None)
    return () if rule is None else rule([None if v is None else v.type for v in node.inputs])


def _forget_shapes(region: Graph) -> None:
    """Drop the stored shapes of node results: what holds for narrow inputs must not refine what is inferred for wider ones."""
    for node in region.walk():
        if not isinstance(node.op, Opaque):
            for value in node.outputs:
                if isinstance(value.type, TensorType):
                    value.type = TensorType(value.type.dtype, None)


def _input_type(value: Value, given: Any) -> Type:
    """The type of a region's input: what its operand gives, or what is declared where that says nothing."""
    declared = value.type
    if isinstance(given, UnknownType) or isinstance(given, TensorType) and given.shape is None:
        merged = refine(given, declared)
        return given if merged is None else name_unknown_dims(merged, value.name)
    if isinstance(given, TensorType) and given.shape == () and isinstance(declared, TensorType) and declared.rank == 1:
        return TensorType(given.dtype, (1,), given.content)  # bodies may take the iteration number and the condition as vectors
    return name_unknown_dims(given, value.name)


def bind_dims(model_or_graph: Bindable, bindings: Mapping[str, Dim]) -> Bindable:
    """Replace dimension symbols, for example ``{"batch": 8}``, in all types of a model or graph and infer the types again.

    The graph is changed in place and returned.

    Raises:
        Diagnostic: a name is not a dimension symbol of the inputs, a value is negative, or the bound shapes do not fit an operator.
    """
    graph = model_or_graph.graph if isinstance(model_or_graph, Model) else model_or_graph
    known = list(dict.fromkeys(name for value in graph.inputs for name in _symbols(value.type)))
    for name, dim in bindings.items():
        if name not in known:
            raise Diagnostic(E_SHAPE, f"no input has a dimension called '{name}'", graph.name, hint=did_you_mean(name, known))
        if isinstance(dim, int) and dim < 0:
            raise Diagnostic(E_SHAPE, f"dimension '{name}' cannot be {dim}", graph.name)
    for value in graph.values():
        try:
            value.type = bind(value.type, bindings)
        except (ValueError, ZeroDivisionError) as error:
            where = value.producer.where if value.producer is not None else f"input '{value.name}'"
            raise Diagnostic(E_SHAPE, f"'{value.name}' has the type {value.type}; with this binding {error}", where) from error
    infer_graph(graph)
    return model_or_graph


def _symbols(type_: Any) -> list[str]:
    if isinstance(type_, TensorType):
        return [name for dim in type_.shape or () if not isinstance(dim, int) for name in dim.symbols()]
    element = getattr(type_, "element", None)
    return [] if element is None else _symbols(element)
