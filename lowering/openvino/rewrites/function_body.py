"""Operators that ONNX defines by a function body, replaced by that body."""

from __future__ import annotations

from ....ir.clone import clone_graph, clone_into
from ....ir.diagnostics import Diagnostic
from ....ir.graph import Graph, Node, Value
from ....ir.inference import infer_node
from ....ir.model import Model
from ....ir.op import Opaque
from ....ir.serial.codes import E_EXPORT
from ....ir.types import TensorType, name_unknown_dims
from ....passes.mutation import combined_type
from ....passes.rewriter import Decline, Rewriter


def expand(node: Node, b: Rewriter) -> tuple[Value | None, ...] | Decline:
    """Build the ONNX function body of a node; gives what replaces its results.

    The body is that of the installed onnx package for the node's operand types. What the body's own shape
    arithmetic can know of the operands is inferred again, so that constant operands are folded later.
    """
    graph = Graph("body")
    inputs: dict[Value, Value] = {}
    for index, value in enumerate(node.inputs):
        if value is not None and value not in inputs:
            inputs[value] = graph.add_input(f"operand_{index}", value.type)
    operands = [None if v is None else inputs[v] for v in node.inputs]
    regions = [clone_graph(region) for region in node.regions]
    inner = graph.insert(
        node.op,
        operands,
        outputs=len(node.outputs),
        regions=regions,
        names=[f"result_{i}" for i in range(len(node.outputs))],
        types=[v.type for v in node.outputs],
    )
    wanted = [i for i, v in enumerate(node.outputs) if v.uses]
    graph.set_outputs([inner.outputs[i] for i in wanted], [f"result_{i}" for i in wanted])
    try:
        body = _inlined(Model(graph), node)
    except Diagnostic as error:
        return Decline(error.message)
    if any(n.op.op_name == node.op.op_name and n.op.domain == node.op.domain for n in body.walk()):
        return Decline(f"ONNX defines no function body for {node.op.qualified_name} with these operands")
    before = b.root.previous
    given = dict(zip([v.name for v in inputs.values()], inputs, strict=True))
    found = clone_into(body, b.graph, {v: given[v.name] for v in body.inputs}, b.root)
    _adopt(b, before)
    results: list[Value | None] = [None] * len(node.outputs)
    for position, value in zip(wanted, found, strict=True):
        results[position] = value
    return tuple(results)


def _inlined(model: Model, node: Node) -> Graph:
    from onnx import inliner, load_from_string

    from ....ir.serial.reader import read_model_bytes

    if isinstance(node.op, Opaque):
        model.opsets[node.op.op_domain] = node.op.version
    proto = load_from_string(model.to_bytes())
    try:
        result = inliner.inline_selected_functions(proto, [(node.op.domain, node.op.op_name)], exclude=False, inline_schema_functions=True)
    except (RuntimeError, ValueError) as error:
        raise Diagnostic(E_EXPORT, f"its function body cannot be inlined: {error}", node.where) from error
    return read_model_bytes(result.SerializeToString(), "function body").graph


def _adopt(b: Rewriter, before: Node | None) -> None:
    """Count the copied nodes as created by the rule, and infer their types with what is known of the operands."""
    node = before.next if before is not None else b.graph.first
    while node is not None and node is not b.root:
        b.created.append(node)
        for value in node.outputs:
            value.origins = ()
        if node.regions:
            infer_node(node)
        elif not isinstance(node.op, Opaque):
            for value, inferred in zip(node.outputs, node.infer(), strict=True):
                fresh = name_unknown_dims(inferred, value.name)
                merged = combined_type(fresh, value.type)
                value.type = merged if isinstance(merged, TensorType) else fresh
        node = node.next
