"""Deep copies of graphs and models, and inlining of one graph into another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .graph import Graph, Node, Value
from .model import Model


def clone_graph(graph: Graph) -> Graph:
    """A deep copy: new values, nodes and regions, shared operators and constant data.

    Values of enclosing graphs that a region captures stay the same values, so the clone of a region belongs beside the original.
    """
    copy = Graph(graph.name)
    copy._serial = graph.root._serial
    _fill(copy, graph, {})
    return copy


def clone_model(model: Model) -> Model:
    """A deep copy of a model; constant data is shared."""
    return replace(
        model,
        graph=clone_graph(model.graph),
        opsets=dict(model.opsets),
        metadata=dict(model.metadata),
        properties=dict(model.properties),
        frozen=dict(model.frozen),
    )


def clone_into(
    graph: Graph,
    target: Graph,
    mapping: Mapping[Value, Value],
    before: Node | None = None,
    *,
    rename: bool = True,
) -> tuple[Value, ...]:
    """Copy the nodes of a graph into another one and return the values that stand for its outputs.

    Args:
        graph: the graph to copy from, such as the region of an If.
        target: the graph that receives the nodes.
        mapping: a value of the target for each input of ``graph`` (and for any other value that shall be replaced).
        before: the node of ``target`` in front of which the copies go, at the end by default.
        rename: give the copies fresh names; False keeps the names, which is right when the original is removed afterwards.
    """
    copies = dict(mapping)
    for node in graph:
        _copy_node(node, target, copies, before, rename)
    return tuple(_mapped(value, copies) for value in graph.outputs)


def _fill(copy: Graph, graph: Graph, copies: dict[Value, Value], rename: bool = False) -> None:
    for value in graph.inputs:
        added = copy.add_input(_name(copy, value, rename), value.type)
        added.origins = value.origins
        copies[value] = added
    for node in graph:
        _copy_node(node, copy, copies, None, rename)
    copy.set_outputs([_mapped(value, copies) for value in graph.outputs], graph.output_names)


def _copy_node(node: Node, target: Graph, copies: dict[Value, Value], before: Node | None, rename: bool) -> None:
    regions = []
    for region in node.regions:
        inner = Graph(region.name)
        inner._serial = target.root._serial
        regions.append(inner)
        if rename:
            inner.parent = Node(node.op, ())  # lets the region draw names from the target's root
            inner.parent.graph = target
        _fill(inner, region, copies, rename)
    operands = [None if value is None else _mapped(value, copies) for value in node.inputs]
    names = [_name(target, value, rename) for value in node.outputs]
    added = target.insert(
        node.op,
        operands,
        before=before,
        outputs=len(node.outputs),
        regions=regions,
        names=names,
        name=node.name,
        types=[value.type for value in node.outputs],
    )
    added.sources, added.metadata = node.sources, dict(node.metadata)
    for old, new in zip(node.outputs, added.outputs, strict=True):
        new.origins = old.origins
        copies[old] = new


def _name(target: Graph, value: Value, rename: bool) -> str:
    return target.fresh_name(value.name) if rename else value.name


def _mapped(value: Value, copies: dict[Value, Value]) -> Value:
    """The copy of a value; constants are copied when first met, values of enclosing graphs stay."""
    found = copies.get(value)
    if found is None:
        if value.data is None:
            return value
        found = copies[value] = Value(value.name, value.type, data=value.data, origins=value.origins)
    return found


def isolated_node(node: Node) -> Graph:
    """A graph of one node alone: its constant operands stay constants, everything else that it or its regions read is an input.

    Results that nothing reads are left out, unless nothing reads any.
    """
    graph = Graph(node.name or node.op.op_name)
    copies: dict[Value, Value] = {}
    for value in dict.fromkeys((*(v for v in node.inputs if v is not None), *_captured(node))):
        if value.data is None:
            added = graph.add_input(value.name, value.type)
            added.origins = value.origins
            copies[value] = added
    _copy_node(node, graph, copies, None, rename=False)
    used = [value for value in node.outputs if value.uses] or list(node.outputs[:1])
    graph.set_outputs([copies[value] for value in used], [value.name for value in used])
    return graph


def _captured(node: Node) -> list[Value]:
    """The values of enclosing graphs that the regions of a node read."""
    inside: set[Value] = set()
    read: dict[Value, None] = {}
    for region in node.regions:
        for graph in (region, *(r for inner in region.walk() for r in inner.regions)):
            inside.update(graph.inputs)
            read |= dict.fromkeys(graph.outputs)
            for inner in graph:
                inside.update(inner.outputs)
                read |= dict.fromkeys(v for v in inner.inputs if v is not None)
    return [value for value in read if value not in inside]
