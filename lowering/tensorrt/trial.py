"""The parser's and the builder's own word on a single node: it is written as a model of one node and handed to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.dims import Expr, substitute
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.model import Model
from ...ir.op import Opaque
from ...ir.ops.cast import Cast
from ...ir.ops.control import Loop
from ...ir.ops.random import Dropout
from ...ir.ops.unary import Identity
from ...ir.types import OptionalType, SequenceType, TensorType, bind, map_dims
from ...passes.values import uniform_number
from .carry import CARRIERS, carry
from .engine import Parsed, Refusal, build, parse, silence, tensors
from .sdk import Sdk, load
from .shapes import profile_of, symbols_of

BUILT = frozenset("Attention NonMaxSuppression RotaryEmbedding QuantizeLinear DequantizeLinear Gemm MatMul Conv ConvTranspose".split())
"""Operators of which the parser takes more than the builder, or the builder more on some GPUs: their trial builds an engine too."""
PRODUCTS = frozenset("Gemm MatMul Conv ConvTranspose".split())
"""Those that only GPUs before SM80 refuse."""
QUANTISERS = frozenset("QuantizeLinear DequantizeLinear".split())
"""Those that only some GPUs refuse, for some element types."""
COUNTED = frozenset("NonMaxSuppression NonZero Compress Unique".split())
"""Those whose results are as long as the data have it. TensorRT 8.5 has layers for the first two, TensorRT-RTX has no kernels for them."""
OLD = "SM75"
SAMPLE_SIZE, SAMPLE_RANGE = 8, (1, 8, 16)  # of symbolic dimensions in trial builds
BUILT_ELEMENTS = 1 << 20  # constants up to this size take part in trial builds
CONTENT_LIMIT = 1024
NETWORK_TYPES = frozenset(
    (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.INT32, DType.INT64, DType.BOOL, DType.INT8, DType.UINT8, DType.INT4,
     DType.FLOAT8E4M3FN, DType.FLOAT4E2M1)
)  # fmt: skip
_known: dict[Any, Refusal | None] = {}


def objection(node: Node, capabilities: Sequence[str] = ()) -> Refusal | None:
    """Why TensorRT does not take a node as it stands, None when it does.

    Args:
        node: the node; it stays as it is. Of nodes with regions only the operator is judged: what is inside is judged on its own.
        capabilities: for which the engine is to be built, such as ``SM86``; without any only the parser is asked.
    """
    if node.regions:
        return _judge(node, capabilities)  # also by what is inside
    key = _key(node, tuple(capabilities))
    if key not in _known:
        found = _judge(node, capabilities)
        if found is not None and found.code in ("operator", "attribute") and not node.op.domain and node.op.op_name in COUNTED:
            found = Refusal(f"how long its result is depends on the data, and nothing makes such results: {found.reason}", "operator")
        _known[key] = found
    return _known[key]


def _judge(node: Node, capabilities: Sequence[str]) -> Refusal | None:
    for value in (*node.inputs, *(v for v in node.outputs if v.uses or v is node.outputs[0])):
        found = None if value is None else _type_problem(value)
        if found is not None:
            return found
    if _drops(node):
        return Refusal("the parser hands the operand of dropout through, also in training mode", "attribute")
    if _collects_until(node):
        return Refusal("it collects results and may stop early: TensorRT collects as many as the trip count says", "control-flow")
    sdk = load()
    if node.regions or isinstance(node.op, Opaque):
        builder, network = sdk.create_network()
        known = sdk.trt.OnnxParser(network, sdk.logger).supports_operator(node.op.op_name)
        del builder
        return None if known else Refusal("the ONNX parser has no importer for the operator", "operator")
    try:
        graph = alone(node)
        carry(graph)
        source = Model(graph).to_bytes()
    except Diagnostic as error:
        return Refusal(error.message, "attribute")
    parsed = parse(sdk, source)
    if isinstance(parsed, list):
        return parsed[0]
    found = disagreement(sdk, parsed, graph)
    if found is not None or not _needs_build(node, capabilities):
        return found
    return _build_problem(sdk, node, capabilities)


def _drops(node: Node) -> bool:
    """Whether a node drops elements, for which the parser has no layers: it hands the operand through."""
    training = node.operand(2) if isinstance(node.op, Dropout) else None
    return training is not None and uniform_number(training) != 0


def _collects_until(node: Node) -> bool:
    """Whether a loop stacks results and has a condition that may fail before the trip count is reached."""
    if not isinstance(node.op, Loop):
        return False
    first, body = node.operand(1), node.regions[0]
    again = body.outputs[0]
    while again.producer is not None and isinstance(again.producer.op, Identity) and again.producer.inputs[0] is not None:
        again = again.producer.inputs[0]
    goes_on = again is body.inputs[1] or again.data is not None and uniform_number(again) == 1
    begins = first is None or first.data is not None and uniform_number(first) == 1 or _counts(node.operand(0), first)
    return any(value.uses for value in node.outputs[len(node.inputs) - 2 :]) and not (begins and goes_on)


def _counts(trips: Value | None, condition: Value) -> bool:
    """Whether a condition fails only where the trip count is zero: both are conversions of one number."""
    if trips is None or condition.producer is None or not isinstance(condition.producer.op, Cast):
        return False
    number = condition.producer.inputs[0]
    return number is trips or trips.producer is not None and isinstance(trips.producer.op, Cast) and trips.producer.inputs[0] is number


def _needs_build(node: Node, capabilities: Sequence[str]) -> bool:
    """Whether only the builder can tell."""
    name = node.op.op_name
    if not capabilities or name not in BUILT:
        return False
    if name in PRODUCTS:
        return OLD in capabilities
    values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype is not None]
    return name not in QUANTISERS or any(v.dtype.bits < 8 or v.dtype.bits == 8 and v.dtype.is_float for v in values if v.dtype)


def _build_problem(sdk: Sdk, node: Node, capabilities: Sequence[str]) -> Refusal | None:
    if any(v is not None and v.data is not None and v.data.nbytes > BUILT_ELEMENTS for v in node.inputs):
        return None
    for fixed in (False, True):
        try:
            graph = alone(node, fixed=fixed)
            carry(graph)
            parsed = parse(sdk, Model(graph).to_bytes())
        except Diagnostic:
            continue  # the sizes that were tried do not fit together
        inputs = graph.inputs
        if isinstance(parsed, list) or any(item.is_shape_tensor for item in tensors(parsed)[0]):
            return None
        symbols = symbols_of(inputs)
        profiles = [profile_of(inputs, dict.fromkeys(symbols, SAMPLE_RANGE))] if symbols else []
        with silence():
            built = build(sdk, parsed, capabilities, profiles, optimization_level=0)
        if isinstance(built, bytes):
            return None
        if built.code != "dynamic-shape":
            return built
    return None


def alone(node: Node, *, fixed: bool = False) -> Graph:
    """A graph of one node like the given one, on inputs of the same types; constants stay constants.

    Args:
        node: the node, without regions.
        fixed: whether symbolic dimensions get the size `SAMPLE_SIZE`.
    """
    graph = Graph("trial")
    copies: dict[Value, Value] = {}
    for index, value in enumerate(node.inputs):
        if value is None or value in copies:
            continue
        if value.data is not None:
            copies[value] = Value(f"c{index}", value.type, data=value.data)
        else:
            copies[value] = graph.add_input(f"x{index}", _fixed(value.type) if fixed else value.type)
    operands = [None if v is None else copies[v] for v in node.inputs]
    names = [f"y{index}" for index in range(len(node.outputs))]
    types = None if fixed else [v.type for v in node.outputs]
    copy = graph.insert(node.op, operands, outputs=len(node.outputs), names=names, name="node", types=types)
    used = [new for new, old in zip(copy.outputs, node.outputs, strict=True) if old.uses] or list(copy.outputs[:1])
    graph.set_outputs(used, [v.name for v in used])
    return graph


def disagreement(sdk: Sdk, parsed: Parsed, graph: Graph) -> Refusal | None:
    """Where the parser's element types and static sizes of the outputs differ from those of the graph that it was given."""
    for item, value in zip(tensors(parsed)[1], graph.outputs, strict=True):
        if value.dtype is not None and (name := network_type(sdk, item.dtype)) != value.dtype:
            return Refusal(f"the parser makes output '{item.name}' {name}, not {value.dtype}", "dtype")
        shape = tuple(item.shape)
        if value.shape is None:
            continue
        differ = len(shape) != len(value.shape) or any(
            d >= 0 and isinstance(e, int) and d != e for d, e in zip(shape, value.shape, strict=False)
        )
        if differ:
            return Refusal(
                f"the parser makes output '{item.name}' of shape {list(shape)}, not [{', '.join(map(str, value.shape))}]", "attribute"
            )
    return None


def network_type(sdk: Sdk, dtype: Any) -> DType | None:
    """A TensorRT element type as ours."""
    names = {
        "FLOAT": DType.FLOAT, "HALF": DType.FLOAT16, "BF16": DType.BFLOAT16, "INT32": DType.INT32, "INT64": DType.INT64, "BOOL": DType.BOOL,
        "INT8": DType.INT8, "UINT8": DType.UINT8, "INT4": DType.INT4, "FP8": DType.FLOAT8E4M3FN, "FP4": DType.FLOAT4E2M1,
        "E8M0": DType.FLOAT8E8M0,
    }  # fmt: skip
    return next((ours for name, ours in names.items() if getattr(sdk.trt.DataType, name, None) == dtype), None)


def _type_problem(value: Value) -> Refusal | None:
    type_ = value.type
    if isinstance(type_, SequenceType | OptionalType):
        return Refusal("TensorRT has neither sequences nor optional values", "sequence")
    if not isinstance(type_, TensorType):
        return Refusal(f"the type of '{value.name}' is not known", "dynamic-rank")
    if type_.shape is None:
        return Refusal(f"the number of dimensions of '{value.name}' is not known", "dynamic-rank")
    if type_.dtype is DType.STRING:
        return Refusal("TensorRT has no texts", "string")
    if (
        type_.dtype not in NETWORK_TYPES
        and type_.dtype not in CARRIERS
        and not (type_.dtype is DType.FLOAT8E8M0 and value.data is not None)
    ):
        return Refusal(f"TensorRT has no elements of type {type_.dtype}", "dtype")
    return None


def _fixed(type_: Any) -> Any:
    symbols: dict[str, int] = {}

    def note(dim: Any) -> Any:
        if isinstance(dim, Expr):
            symbols.update(dict.fromkeys(dim.symbols(), SAMPLE_SIZE))
        return dim

    map_dims(type_, note)
    return map_dims(bind(type_, symbols), lambda d: substitute(d, symbols) if isinstance(d, Expr) else d)


def _key(node: Node, capabilities: tuple[str, ...]) -> Any:
    return (
        type(node.op),
        node.op.qualified_name,
        repr(tuple(node.op.attributes())),
        tuple(None if v is None else (str(v.type), _content(v)) for v in node.inputs),
        tuple((str(v.type), bool(v.uses)) for v in node.outputs),
        capabilities if node.op.op_name in BUILT else (),
    )


def _content(value: Value) -> Any:
    if value.data is None:
        return None
    if value.data.nbytes > CONTENT_LIMIT * 8 or value.dtype is DType.STRING:
        return "constant"
    return hashlib.sha256(bytes(value.data.raw())).digest()
