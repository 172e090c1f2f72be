"""Operators that ONNX defines by a function body: the body, read from the installed onnx package."""

from __future__ import annotations

from typing import Any

from ...ir.clone import clone_graph, clone_into
from ...ir.diagnostics import Diagnostic
from ...ir.graph import Graph, Node, Value
from ...ir.model import Model
from ...ir.op import Opaque
from ...ir.ops.attention import LinearAttention
from ...ir.ops.conv_special import CausalConvWithState
from ...ir.ops.generate import Range
from ...ir.ops.losses import NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss
from ...ir.ops.quantize import DynamicQuantizeLinear
from ...ir.ops.sequence import SequenceMap
from ...ir.ops.signal_windows import BlackmanWindow, HammingWindow, HannWindow
from ...ir.ops.vision import AffineGrid, CenterCropPad
from ...ir.types import UnknownType
from ..mutation import captured_values
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

DEFINED_BY_FUNCTIONS = (
    AffineGrid, BlackmanWindow, CausalConvWithState, CenterCropPad, DynamicQuantizeLinear, HammingWindow, HannWindow,
    LinearAttention, NegativeLogLikelihoodLoss, Range, SequenceMap, SoftmaxCrossEntropyLoss, Opaque,
)  # fmt: skip
_BODY = "edgec.body"


@decomposes(*DEFINED_BY_FUNCTIONS, name="inline-onnx-function", group="decompose-onnx-functions", targeted=True, benefit=0)
def inline_onnx_function(node: Node, t: Terms) -> Result:
    """The function body that ONNX defines the operator by: exact by definition."""
    if isinstance(node.op, Opaque) and not node.op.domain.startswith("ai.onnx"):
        return None
    operands = list(dict.fromkeys(v for v in node.inputs if v is not None))
    if any(isinstance(v.type, UnknownType) for v in operands):
        return Decline("the type of an operand is not known")
    if any(captured_values(region) for region in node.regions):
        return Decline("a subgraph reads values from around it")
    body = function_body(node, operands)
    if body is None:
        return Decline("ONNX defines no function body for these operand types")
    known = dict(zip(body.inputs, operands, strict=True))
    before = {id(n) for n in t.b.graph}
    results = clone_into(body, t.b.graph, known, t.b.root)
    t.b.created.extend(n for n in t.b.graph if id(n) not in before)
    return tuple(result if old.uses else None for result, old in zip(results, node.outputs, strict=True))


def function_body(node: Node, operands: list[Value]) -> Graph | None:
    """The body of a node's function as a graph whose inputs stand for ``operands``; None when there is none."""
    import onnx

    from ...ir.serial.reader import read_model_bytes
    from ...ir.serial.writer import model_bytes

    alone = _single(node, operands)
    version = node.op.version if isinstance(node.op, Opaque) else onnx.defs.onnx_opset_version()
    model = Model(alone, opsets={node.op.domain: version})
    try:
        proto = onnx.load_from_string(model_bytes(model, opset=onnx.defs.onnx_opset_version()))
        call = proto.graph.node[0]
        body = _function(proto, call)
        if body is None:
            return None
        body.domain = body.name = call.domain = call.op_type = _BODY
        proto.functions.append(body)
        proto.opset_import.add(domain=_BODY, version=1)
        return read_model_bytes(proto.SerializeToString(), node.op.op_name).graph
    except (Diagnostic, RuntimeError, ValueError):
        return None


def _function(proto: Any, call: Any) -> Any:
    """The FunctionProto that ONNX has for the only node of a model, None when there is none."""
    from onnx import FunctionProto, TypeProto, defs

    versions = {entry.domain: entry.version for entry in proto.opset_import}
    try:
        schema: Any = defs.get_schema(call.op_type, versions[call.domain], call.domain)
    except defs.SchemaError:
        return None
    opset = versions.get("", defs.onnx_opset_version())
    found = b""
    if schema.has_context_dependent_function:
        types = {value.name: value.type for value in proto.graph.input}
        given = [types.get(name, TypeProto()).SerializeToString() for name in call.input]
        usable = [v for v in schema.context_dependent_function_opset_versions if v <= opset] or [opset]
        found = schema.get_context_dependent_function_with_opset_version(max(usable), call.SerializeToString(), given)
    elif schema.has_function:
        usable = [v for v in schema.function_opset_versions if v <= opset]
        found = schema.get_function_with_opset_version(max(usable)) if usable else b""
    return FunctionProto.FromString(found) if found else None


def _single(node: Node, operands: list[Value]) -> Graph:
    """A graph of this one node."""
    graph = Graph("function")
    inputs = {value: graph.add_input(f"x{i}", value.type) for i, value in enumerate(operands)}
    regions = [clone_graph(region) for region in node.regions]
    copies = [None if v is None else inputs[v] for v in node.inputs]
    types = [v.type for v in node.outputs]
    results = graph.insert(node.op, copies, outputs=len(node.outputs), regions=regions, types=types).outputs
    graph.set_outputs(results, [f"y{i}" for i in range(len(results))])
    return graph
