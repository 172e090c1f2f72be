"""Quantisation as TensorRT has it: symmetric, in int8, int4 and float8, each QuantizeLinear right before its DequantizeLinear.

What is another spelling of that is respelled, exactly: uint8 with zero point 128 is int8 with zero point 0. Everything else is computed in
floating point, exactly too, and reported: the operators around it do not run in integers then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.ops.activation import Clip
from ...ir.ops.binary import Mul, Sub
from ...ir.ops.cast import Cast
from ...ir.ops.gather import Gather
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear, integer_range
from ...ir.ops.unary import Round
from ...passes.context import Context
from ...passes.decompose.terms import Terms
from ...passes.driver import apply_rules, index_of
from ...passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ...passes.values import element_count, uniform_number
from ..artifact import Loss
from .trial import objection

GROUP = "tensorrt-quantization"
LOSSES, CAPABILITIES = "tensorrt.losses", "tensorrt.capabilities"
SIGNED = {DType.UINT8: DType.INT8, DType.UINT4: DType.INT4}
CARRIED = frozenset((DType.INT8, DType.INT4, DType.FLOAT8E4M3FN, DType.FLOAT4E2M1))
"""The element types that quantised tensors can have."""


def listed(names: Iterable[str]) -> str:
    """The first names, and how many there are beyond."""
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def make_symmetric(graph: Graph, capabilities: Sequence[str] = ()) -> list[Loss]:
    """Rewrite the quantisation of a graph, in place; gives what could not stay quantised.

    Args:
        graph: the graph.
        capabilities: compute capabilities of the engines: those before SM89 have no float8.
    """
    context = Context()
    context.extras[LOSSES], context.extras[CAPABILITIES] = [], tuple(capabilities)
    apply_rules(graph, index_of(GROUP), context)
    found: dict[tuple[str, str], list[str]] = {}
    for loss in context.extras[LOSSES]:
        found.setdefault((loss.kind, loss.what), []).append(loss.where)
    return [Loss(kind, listed(dict.fromkeys(names)), f"{len(names)} nodes: {what}") for (kind, what), names in found.items()]


@rewrites_op(DequantizeLinear, name="tensorrt-dequantize", group=GROUP)
def dequantize(node: Node, b: Rewriter) -> Result:
    """A DequantizeLinear that TensorRT does not have, as a symmetric one or in floating point."""
    x, scale, zero = (node.operand(i) for i in range(3))
    assert x is not None and scale is not None and isinstance(node.op, DequantizeLinear)
    source = x.producer if x.producer is not None and isinstance(x.producer.op, QuantizeLinear) else None
    direct = x.rank != 0 and (source is not None or x.data is not None or x.is_input)
    if direct and x.dtype in CARRIED and _is_symmetric(zero) and (source is None or not _problem(source, b)) and _on_hardware(node, b):
        return None
    signed = _as_signed(x, zero, b, source, scale)
    if signed is not None:
        return b.add(node.op, signed, scale)
    if x.data is not None and scale.data is not None and (zero is None or zero.data is not None):
        if x.dtype is not DType.INT32:  # biases are added in float anyway
            _lose(
                b, node, "zero-point" if not _is_symmetric(zero) else "quantisation", f"the constant {x.dtype} tensor is stored dequantised"
            )
        array = node.op.evaluate(x.data.numpy(), scale.data.numpy(), None if zero is None or zero.data is None else zero.data.numpy())
        return b.constant(array, node.output.dtype)
    if x.rank is None or scale.rank is None:
        return Decline("the rank is not known", node)
    t = Terms(b)
    try:
        wide = _along_axis(t, node.op, x, t.cast(scale, DType.FLOAT))
        offset = None if zero is None else _along_axis(t, node.op, x, t.cast(zero, DType.FLOAT))
    except LookupError:
        return Decline("the blocked dimension is not known", node)
    if source is not None and source.inputs[0] is not None and _all_dequantised(x):
        levels = _levels(source, t)
        if levels is None:
            return Decline("the quantisation cannot be spelled out", node)
    else:
        levels = t.cast(x, DType.FLOAT)
    centred = levels if offset is None else t.apply(Sub(), levels, offset)
    _lose(b, node, *_what(node, zero))
    return t.cast(t.apply(Mul(), centred, wide), node.output.dtype)


@rewrites_op(QuantizeLinear, name="tensorrt-quantize", group=GROUP)
def quantize(node: Node, b: Rewriter) -> Result:
    """A QuantizeLinear whose result does more than being dequantised, in floating point."""
    if _all_dequantised(node.output) or not _problem(node, b) and node.output.is_output and not node.output.users():
        return None
    t = Terms(b)
    levels = _levels(node, t)
    if levels is None or node.output.dtype is None:
        return Decline("the quantisation cannot be spelled out", node)
    _lose(b, node, "quantisation", "quantised and computed with as integers, in floating point")
    return t.apply(Cast(node.output.dtype), t.cast(levels, DType.INT32) if node.output.dtype.is_integer else levels)


def _problem(node: Node, b: Rewriter) -> bool:
    """Whether TensorRT lacks a QuantizeLinear."""
    return node.output.rank == 0 or node.output.dtype not in CARRIED or not _is_symmetric(node.operand(2)) or not _on_hardware(node, b)


def _on_hardware(node: Node, b: Rewriter) -> bool:
    """Whether the builder takes a node with small floats: only some GPUs have them."""
    small = any(v is not None and v.dtype is not None and v.dtype.is_float and v.dtype.bits < 16 for v in (*node.inputs, *node.outputs))
    return not small or objection(node, b.context.extras.get(CAPABILITIES, ())) is None


def _is_symmetric(zero: Value | None) -> bool:
    return zero is None or uniform_number(zero) == 0


def _all_dequantised(value: Value) -> bool:
    users = value.users()
    return bool(users) and not value.is_output and all(isinstance(user.op, DequantizeLinear) and user.inputs[0] is value for user in users)


def _as_signed(x: Value, zero: Value | None, b: Rewriter, source: Node | None, scale: Value) -> Value | None:
    """The unsigned tensor with its zero point in the middle as a signed one with zero point 0."""
    dtype = x.dtype
    if dtype not in SIGNED or zero is None:
        return None
    middle = 1 << (dtype.bits - 1)
    if uniform_number(zero) != middle:
        return None
    target = SIGNED[dtype]
    if x.data is not None:
        moved = x.data.numpy().astype(np.int16) - middle
        return b.constant(moved.astype(target.numpy), target)
    if source is None or uniform_number(source.operand(2)) != middle:
        return None
    op, (real, step) = source.op, source.inputs[:2]
    assert isinstance(op, QuantizeLinear) and real is not None and step is not None
    b.credit(source)
    return b.add(QuantizeLinear(axis=op.axis, block_size=op.block_size, output_dtype=target, precision=op.precision), real, step)


def _levels(node: Node, t: Terms) -> Value | None:
    """The integers that a QuantizeLinear gives, as float32; None when they cannot be spelled out."""
    op, x, scale, zero = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, QuantizeLinear) and x is not None and scale is not None
    dtype = node.output.dtype
    if dtype is None or x.rank is None or scale.rank is None or op.precision not in (None, DType.FLOAT):
        return None
    try:
        wide = _along_axis(t, op, x, t.cast(scale, DType.FLOAT))
        offset = None if zero is None else _along_axis(t, op, x, t.cast(zero, DType.FLOAT))
    except LookupError:
        return None
    quotient = t.div(t.cast(x, DType.FLOAT), wide)
    if not dtype.is_integer:
        return t.cast(t.apply(Cast(dtype, saturate=op.saturate), quotient if offset is None else t.add(quotient, offset)), DType.FLOAT)
    rounded = t.apply(Round(), quotient)
    if offset is not None:
        rounded = t.add(rounded, offset)
    low, high = integer_range(dtype)
    return t.apply(Clip(), rounded, t.constant(float(low), DType.FLOAT), t.constant(float(high), DType.FLOAT))


def _along_axis(t: Terms, op: QuantizeLinear | DequantizeLinear, x: Value, parameter: Value) -> Value:
    """Scales or zero points in a shape that broadcasts against x; LookupError when a blocked dimension is not known."""
    rank = x.rank or 0
    axis = op.axis % rank if rank else 0
    if op.block_size and parameter.rank == rank:
        length = x.shape[axis] if x.shape is not None else None
        if not isinstance(length, int):
            raise LookupError
        return t.apply(Gather(axis=axis), parameter, t.ints([i // op.block_size for i in range(length)]))
    if parameter.rank == 1 and element_count(parameter) != 1:
        return t.reshape(parameter, [-1] + [1] * (rank - axis - 1))
    return t.reshape(parameter, []) if parameter.rank else parameter


def _what(node: Node, zero: Value | None) -> tuple[str, str]:
    x = node.inputs[0]
    assert x is not None
    if _is_symmetric(zero):
        return "quantisation", f"{x.dtype} values are dequantised by arithmetic: TensorRT quantises to int8, int4 and float8 only"
    number = uniform_number(zero)
    point = "varies" if number is None else f"is {number}"
    return "zero-point", f"the zero point {point} and TensorRT's are 0: rounded to the same levels, but computed with in floating point"


def _lose(b: Rewriter, node: Node, kind: str, what: str) -> None:
    losses: Any = b.context.extras.get(LOSSES)
    if losses is not None:
        losses.append(Loss(kind, node.name or node.outputs[0].name, what))
