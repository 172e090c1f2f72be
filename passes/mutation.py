"""Changing the graph safely: removing what became dead, keeping types up to date."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..ir.graph import Graph, Node, Value
from ..ir.inference import infer_node
from ..ir.types import TensorType, Type, name_unknown_dims, refine


def remove_dead(roots: Iterable[Node]) -> list[Value]:
    """Remove nodes whose results nobody uses, and the producers that this leaves without uses.

    Returns:
        The operands of the removed nodes that are still in use: they lost a use.
    """
    touched: dict[Value, None] = {}
    pending = list(roots)
    while pending:
        node = pending.pop()
        graph = node.graph
        if graph is None or any(value.uses for value in node.outputs):
            continue
        operands = [value for value in node.inputs if value is not None]
        for region in node.regions:
            operands += captured_values(region)
        graph.remove(node)
        for value in operands:
            if value.producer is None:
                continue
            if value.uses:
                touched[value] = None
            else:
                pending.append(value.producer)
    return [value for value in touched if value.uses and value.producer is not None and value.producer.graph is not None]


def captured_values(region: Graph) -> list[Value]:
    """The values of enclosing graphs that a region and the regions below it read, in order of first use."""
    inside: set[Value] = set()
    used: dict[Value, None] = {}
    for graph in region.graphs():
        inside.update(graph.inputs)
        for node in graph:
            inside.update(node.outputs)
            for value in node.inputs:
                if value is not None and value.data is None:
                    used[value] = None
        for value in graph.outputs:
            if value.data is None:
                used[value] = None
    return [value for value in used if value not in inside]


def combined_type(new: Type, old: Type) -> Type | None:
    """The type of a value that takes the place of another: the best of both descriptions, None if they contradict."""
    merged = refine(new, old)
    if not isinstance(merged, TensorType) or not isinstance(new, TensorType) or not isinstance(old, TensorType):
        return merged
    content = new.content if new.content is not None else old.content
    return TensorType(merged.dtype, merged.shape, content, new.numbers if new.numbers is not None else old.numbers)


def same_type(left: Type, right: Type) -> bool:
    """Whether two types say the same, contents included."""
    if left is right:
        return True
    if left != right:
        return False
    if not isinstance(left, TensorType) or not isinstance(right, TensorType):
        return True
    return left.content == right.content and left.numbers == right.numbers


def replace_value(graph: Graph, old: Value, new: Value) -> None:
    """`Graph.replace` that also brings the types downstream up to date when the new value is known better, or differently."""
    differs = not same_type(old.type, new.type)
    graph.replace(old, new)
    if differs:
        propagate_types([new])


def propagate_types(values: Iterable[Value]) -> None:
    """Infer the types of everything that depends on some values again, as far as they change."""
    queue: deque[Node] = deque()
    queued: set[Node] = set()

    def push_users(value: Value) -> None:
        for user, _ in value.uses:
            node = user.parent if isinstance(user, Graph) else user
            if node is not None and node not in queued and node.graph is not None:
                queued.add(node)
                queue.append(node)

    for value in values:
        push_users(value)
    while queue:
        node = queue.popleft()
        queued.discard(node)
        if node.regions:
            before = [value.type for value in node.outputs]
            infer_node(node)  # the inputs of the regions may change too
            for value, known in zip(node.outputs, before, strict=True):
                if not same_type(value.type, known):
                    push_users(value)
            continue
        for value, inferred in zip(node.outputs, node.infer(), strict=True):
            updated = combined_type(name_unknown_dims(inferred, value.name), value.type)
            if updated is None or same_type(updated, value.type):
                continue
            value.type = updated
            push_users(value)
