"""Operators that ONNX defines by a function body, replaced by that body."""

from __future__ import annotations

from typing import Any

from ....ir.clone import clone_graph, clone_into
from ....ir.diagnostics import Diagnostic
from ....ir.graph import Graph, Node, Value
from ....ir.inference import infer_node
from ....ir.model import Model
from ....ir.op import Opaque
from ....ir.types import TensorType, name_unknown_dims
from ....passes.mutation import combined_type
from ....passes.rewriter import Decline, Rewriter

_BODY = "edgec.body"


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
    """The graph of a one-node model with the node replaced by its function body."""
    from onnx import load_from_string

    from ....ir.serial.reader import read_model_bytes

    if isinstance(node.op, Opaque):
        model.opsets[node.op.op_domain] = node.op.version
    proto = load_from_string(model.to_bytes())
    body = _function(proto)
    if body is None:
        return model.graph
    body.domain = body.name = _BODY
    call = proto.graph.node[0]
    call.domain = call.op_type = _BODY
    proto.functions.append(body)
    proto.opset_import.add(domain=_BODY, version=1)
    return read_model_bytes(proto.SerializeToString(), "function body").graph


def _function(proto: Any) -> Any:
    """The FunctionProto that ONNX has for the only node of a model, None when there is none."""
    from onnx import FunctionProto, TypeProto, defs

    call = proto.graph.node[0]
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    try:
        schema: Any = defs.get_schema(call.op_type, versions[call.domain], call.domain)
    except defs.SchemaError:
        return None
    opset = versions.get("", defs.onnx_opset_version())
    found: bytes = b""
    if schema.has_context_dependent_function:
        types = {value.name: value.type for value in proto.graph.input}
        given = [types.get(name, TypeProto()).SerializeToString() for name in call.input]
        usable = [v for v in schema.context_dependent_function_opset_versions if v <= opset] or [opset]
        found = schema.get_context_dependent_function_with_opset_version(max(usable), call.SerializeToString(), given)
    elif schema.has_function:
        usable = [v for v in schema.function_opset_versions if v <= opset]
        found = schema.get_function_with_opset_version(max(usable)) if usable else b""
    return FunctionProto.FromString(found) if found else None


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
