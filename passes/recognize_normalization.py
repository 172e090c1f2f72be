"""Recognises normalisations and softmax that are spelled in small operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.binary import Add, Div, Mul, Pow, Sub
from ..ir.ops.cast import Cast
from ..ir.ops.normalization import GroupNormalization, InstanceNormalization, LayerNormalization, RMSNormalization
from ..ir.ops.reduction import ReduceMax, ReduceMean, ReduceSum
from ..ir.ops.reshape import Reshape
from ..ir.ops.softmax import LogSoftmax, Softmax
from ..ir.ops.unary import Exp, Log, Reciprocal, Sqrt
from .algebra import COMPOSITE_TYPES, exclusive, rounded, scalar
from .driver import RulePass
from .match import Match
from .pattern import P
from .rewriter import Decline, Result, Rewriter, rewrites, rewrites_op
from .values import element_count, equals_everywhere

GROUP = "recognize-normalization"
RMS_GROUP = "recognize-rms-normalization"
GROUP_NORM_GROUP = "recognize-group-normalization"


@dataclass(frozen=True)
class RecognizeNormalization(RulePass):
    """Replace spelled-out LayerNorm, InstanceNorm, softmax and log-softmax by one operator, and absorb scale and bias into it."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@dataclass(frozen=True)
class RecognizeRMSNormalization(RulePass):
    """Replace spelled-out RMSNorm by RMSNormalization (opset 23), and absorb the scale into it."""

    name: ClassVar[str] = RMS_GROUP
    groups: ClassVar[tuple[str, ...]] = (RMS_GROUP,)


@dataclass(frozen=True)
class RecognizeGroupNormalization(RulePass):
    """Replace Reshape, InstanceNormalization, Reshape, scale and bias by GroupNormalization (opset 21)."""

    name: ClassVar[str] = GROUP_NORM_GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP_NORM_GROUP,)


# -- the core: d / sqrt(mean(d²) + epsilon) -------------------------------------------------------------------------
@dataclass(frozen=True)
class _Core:
    """A value as ``centred · (mean(centred², axes) + epsilon)^(−1/2)``."""

    centred: Value
    axes: tuple[int, ...]
    epsilon: float
    nodes: tuple[Node, ...]


def _inverse_root(value: Value, divided: bool) -> tuple[Value, tuple[Node, ...]] | None:
    """The ``v`` of a factor ``v^(−1/2)``, or of a divisor ``v^(1/2)`` when ``divided``."""
    node = value.producer
    if node is None:
        return None
    if divided:
        is_root = isinstance(node.op, Sqrt) or isinstance(node.op, Pow) and scalar(node.inputs[1]) == 0.5
        return (node.inputs[0], (node,)) if is_root and node.inputs[0] is not None else None
    if isinstance(node.op, Pow) and scalar(node.inputs[1]) == -0.5 and node.inputs[0] is not None:
        return node.inputs[0], (node,)
    inner = node.inputs[0] if isinstance(node.op, Reciprocal) else None
    if isinstance(node.op, Div) and scalar(node.inputs[0]) == 1.0:
        inner = node.inputs[1]
    if inner is None:
        return None
    found = _inverse_root(inner, divided=True)
    return (found[0], (node, *found[1])) if found is not None else None


def _mean_axes(node: Node | None) -> tuple[int, ...] | None:
    """The non-negative axes of a ReduceMean that keeps dimensions."""
    if node is None or not isinstance(node.op, ReduceMean) or not node.op.keepdims:
        return None
    x, axes = node.inputs[0], node.operand(1)
    if x is None or x.rank is None or axes is None or not axes.ints:
        return None
    return tuple(sorted(a % x.rank for a in axes.ints))


def _square_of(value: Value | None) -> Value | None:
    node = None if value is None else value.producer
    if node is None:
        return None
    if isinstance(node.op, Mul) and node.inputs[0] is node.inputs[1]:
        return node.inputs[0]
    return node.inputs[0] if isinstance(node.op, Pow) and scalar(node.inputs[1]) == 2.0 else None


def _same_difference(left: Value, right: Value) -> bool:
    """Whether two values are the same, or the same subtraction written twice."""
    if left is right:
        return True
    a, b = left.producer, right.producer
    return a is not None and b is not None and isinstance(a.op, Sub) and isinstance(b.op, Sub) and a.inputs == b.inputs


def _core(root: Node) -> _Core | None:
    ways = [(0, 1, True)] if isinstance(root.op, Div) else [(0, 1, False), (1, 0, False)]
    for numerator, factor, divided in ways:
        centred, other = root.inputs[numerator], root.inputs[factor]
        if centred is None or other is None or centred.rank != root.output.rank or centred.dtype not in COMPOSITE_TYPES:
            continue
        rooted = _inverse_root(other, divided)
        if rooted is None:
            continue
        shifted = rooted[0].producer
        if shifted is None or not isinstance(shifted.op, Add):
            continue
        for index in (0, 1):
            epsilon, mean = scalar(shifted.inputs[index]), shifted.inputs[1 - index]
            if epsilon is None or mean is None:
                continue
            axes = _mean_axes(mean.producer)
            squared = _square_of(mean.producer.inputs[0]) if axes is not None and mean.producer is not None else None
            if squared is not None and axes is not None and _same_difference(squared, centred):
                return _Core(centred, axes, rounded(epsilon, 7), (*rooted[1], shifted))
    return None


def _is_trailing(axes: tuple[int, ...], rank: int) -> bool:
    return axes == tuple(range(rank - len(axes), rank))


def _ones(b: Rewriter, x: Value, shape: tuple[int, ...]) -> Value:
    return b.constant(np.ones(shape, x.tensor.dtype.numpy))


@rewrites_op(Div, Mul, name="recognize-layer-norm", group=GROUP)
def recognize_layer_norm(node: Node, b: Rewriter) -> Result:
    """(x − mean(x)) / √(mean((x − mean(x))²) + ε) over trailing axes: LayerNormalization; over the spatial axes: InstanceNormalization."""
    core = _core(node)
    if core is None:
        return None
    difference = core.centred.producer
    if difference is None or not isinstance(difference.op, Sub):
        return None
    x, mean = difference.inputs
    if x is None or mean is None or mean.producer is None or mean.producer.inputs[0] is not x:
        return None
    if _mean_axes(mean.producer) != core.axes:
        return Decline("mean and variance are taken over different axes", mean.producer)
    rank = x.rank
    if rank is None or not _is_trailing(core.axes, rank):
        return Decline(f"the axes {list(core.axes)} are not the last ones", node)
    assert x.shape is not None
    b.credit(difference, *core.nodes)
    if rank >= 4 and core.axes == tuple(range(2, rank)) and isinstance(x.shape[1], int):
        zeros = b.constant(np.zeros(x.shape[1], x.tensor.dtype.numpy))
        return b.add(InstanceNormalization(epsilon=core.epsilon), x, _ones(b, x, (x.shape[1],)), zeros)
    tail = x.shape[rank - len(core.axes) :]
    if not all(isinstance(d, int) for d in tail):
        return Decline("the normalised dimensions are not static", node)
    return b.add(LayerNormalization(axis=-len(tail), epsilon=core.epsilon), x, _ones(b, x, tail))  # type: ignore[arg-type]


@rewrites_op(Div, Mul, name="recognize-rms-norm", group=RMS_GROUP)
def recognize_rms_norm(node: Node, b: Rewriter) -> Result:
    """x / √(mean(x²) + ε) over trailing axes."""
    core = _core(node)
    if core is None:
        return None
    x = core.centred
    rank = x.rank
    if rank is None or not _is_trailing(core.axes, rank):
        return Decline(f"the axes {list(core.axes)} are not the last ones", node)
    assert x.shape is not None
    tail = x.shape[rank - len(core.axes) :]
    if not all(isinstance(d, int) for d in tail):
        return Decline("the normalised dimensions are not static", node)
    b.credit(*core.nodes)
    return b.add(RMSNormalization(axis=-len(tail), epsilon=core.epsilon), x, _ones(b, x, tail))  # type: ignore[arg-type]


# -- scale and bias --------------------------------------------------------------------------------------------------
def _normalised_operand(node: Node, classes: tuple[type, ...]) -> tuple[Node, Value] | None:
    """The normalisation among the operands of a Mul or Add, read by nothing else, and the other operand."""
    for index in (0, 1):
        value, other = node.inputs[index], node.inputs[1 - index]
        producer = None if value is None else value.producer
        if producer is not None and value is not None and other is not None and isinstance(producer.op, classes):
            if exclusive(value, node):
                return producer, other
    return None


def _parameter(b: Rewriter, norm: Node, other: Value) -> Value | Decline:
    """A factor or summand as a parameter of the normalisation: a vector over its channels or its normalised dimensions."""
    x = norm.inputs[0]
    assert x is not None
    if other.data is None and not (other.rank == 1 and other.is_input):
        return Decline("the parameter is computed", other.producer)
    if other.shape is None or x.rank is None or x.shape is None or not all(isinstance(d, int) for d in other.shape):
        return Decline("the parameter's shape is not static", norm)
    shape: tuple[int, ...] = other.shape  # type: ignore[assignment]
    if isinstance(norm.op, InstanceNormalization):
        channels = x.shape[1]
        aligned = (1,) * (x.rank - len(shape)) + shape
        if len(shape) > x.rank or aligned != (1, channels) + (1,) * (x.rank - 2) or other.data is None:
            return Decline(f"a parameter of shape {list(shape)} is not one number per channel", norm)
        return b.constant(other.data.numpy().reshape(channels))
    axis = norm.op.axis % x.rank  # type: ignore[attr-defined]
    tail = x.shape[axis:]
    if len(shape) > len(tail):
        if any(d != 1 for d in shape[: len(shape) - len(tail)]) or len(shape) > x.rank or other.data is None:
            return Decline(f"a parameter of shape {list(shape)} varies outside the normalised dimensions", norm)
        shape = shape[len(shape) - len(tail) :]
    if other.data is None:
        return other if shape == tail else Decline("the parameter does not span the normalised dimensions", norm)
    if shape == tail and other.shape == tail:
        return other
    if any(d not in (1, t) for d, t in zip(reversed(shape), reversed(tail), strict=False)):
        return Decline(f"a parameter of shape {list(shape)} does not fit {list(tail)}", norm)
    spread = np.broadcast_to(other.data.numpy().reshape(shape), tail)  # type: ignore[arg-type]
    return b.constant(np.ascontiguousarray(spread))


@rewrites_op(Mul, name="absorb-norm-scale", group=GROUP, benefit=2)
def absorb_scale(node: Node, b: Rewriter) -> Result:
    """norm(x; 1) · w = norm(x; w), while the normalisation has neither scale nor bias yet."""
    found = _normalised_operand(node, (LayerNormalization, InstanceNormalization))
    return _absorb_scale(node, b, found)


@rewrites_op(Mul, name="absorb-rms-scale", group=RMS_GROUP, benefit=2)
def absorb_rms_scale(node: Node, b: Rewriter) -> Result:
    """rms(x; 1) · w = rms(x; w)."""
    return _absorb_scale(node, b, _normalised_operand(node, (RMSNormalization,)))


def _absorb_scale(node: Node, b: Rewriter, found: tuple[Node, Value] | None) -> Result:
    if found is None:
        return None
    norm, other = found
    bias = norm.operand(2)
    if not equals_everywhere(norm.inputs[1], 1.0) or bias is not None and not equals_everywhere(bias, 0.0):
        return None
    scale = _parameter(b, norm, other)
    if isinstance(scale, Decline):
        return scale
    b.credit(norm)
    return b.add(norm.op, norm.inputs[0], scale, *norm.inputs[2:])


@rewrites_op(Add, name="absorb-norm-bias", group=GROUP, benefit=2)
def absorb_bias(node: Node, b: Rewriter) -> Result:
    """norm(x; w) + b = norm(x; w, b)."""
    found = _normalised_operand(node, (LayerNormalization, InstanceNormalization))
    if found is None:
        return None
    norm, other = found
    bias = norm.operand(2)
    if bias is not None and not equals_everywhere(bias, 0.0):
        return None
    if len(norm.outputs) > 1 and any(v.uses for v in norm.outputs[1:]):
        return Decline("the mean or the deviation is used", norm)
    parameter = _parameter(b, norm, other)
    if isinstance(parameter, Decline):
        return parameter
    b.credit(norm)
    return b.add(norm.op, norm.inputs[0], norm.inputs[1], parameter)


@rewrites(P(Cast, "out")(P((LayerNormalization, RMSNormalization), "norm")(P(Cast)("x"), ...)), name="norm-in-narrow-type", group=RMS_GROUP)
def norm_in_narrow_type(m: Match, b: Rewriter) -> Result:
    """Cast → norm in f32 → Cast back: the operator itself computes in f32 (its stash_type)."""
    x, norm = m["x"], m.node("norm")
    narrow = x.dtype
    if narrow not in (DType.FLOAT16, DType.BFLOAT16) or m.op("out").to is not narrow or norm.output.dtype is not DType.FLOAT:
        return None
    parameters = norm.inputs[1:]
    if any(p is None or p.data is None for p in parameters):
        return Decline("the parameters are not constant", norm)
    held = [p.data.numpy().astype(narrow.numpy) for p in parameters if p is not None and p.data is not None]
    if any((h.astype(np.float32) != p.data.numpy()).any() for h, p in zip(held, parameters, strict=True) if p is not None and p.data):
        return Decline("a parameter is not representable in the narrow type", norm)
    return b.add(norm.op, x, *(b.constant(h) for h in held))


# -- group normalisation ---------------------------------------------------------------------------------------------
@rewrites(
    P(Add)(P(Mul)(P(Reshape)(P(InstanceNormalization, "norm")(P(Reshape, "split")("x", "groups"), "s", "b"), "back"), "w"), "c"),
    name="recognize-group-norm",
    group=GROUP_NORM_GROUP,
)
def recognize_group_norm(m: Match, b: Rewriter) -> Result:
    """Reshape to (N, G, …) → InstanceNormalization(1, 0) → Reshape back → · w + c."""
    x, split = m["x"], m["split"]
    if x.shape is None or split.shape is None or m.value.shape != x.shape or len(split.shape) < 3:
        return Decline("the shapes do not frame groups of channels", m.node("norm"))
    groups, channels = split.shape[1], x.shape[1]
    if not isinstance(groups, int) or not isinstance(channels, int) or channels % groups or split.shape[0] != x.shape[0]:
        return Decline("the groups are not static", m.node("norm"))
    if not equals_everywhere(m["s"], 1.0) or not equals_everywhere(m["b"], 0.0):
        return Decline("the inner normalisation has parameters of its own", m.node("norm"))
    parameters: list[Value] = []
    for value in (m["w"], m["c"]):
        wanted = (channels,) + (1,) * (len(x.shape) - 2)
        if value.data is None or tuple(value.data.shape)[-len(wanted) :] != wanted or element_count(value) != channels:
            return Decline("scale or bias is not one number per channel", m.root)
        parameters.append(b.constant(value.data.numpy().reshape(channels)))
    return b.add(GroupNormalization(num_groups=groups, epsilon=m.op("norm").epsilon), x, *parameters)


# -- softmax -----------------------------------------------------------------------------------------------------------
def _reduced_axis(node: Node | None, cls: type) -> int | None:
    if node is None or not isinstance(node.op, cls) or not node.op.keepdims:  # type: ignore[attr-defined]
        return None
    axes = node.operand(1)
    return axes.ints[0] if axes is not None and axes.ints is not None and len(axes.ints) == 1 else None


@rewrites_op(Div, name="recognize-softmax", group=GROUP)
def recognize_softmax(node: Node, b: Rewriter) -> Result:
    """exp(x − max(x)) / Σ exp(x − max(x)), also without the maximum (then the operator does not overflow where the spelling does)."""
    numerator, total = node.inputs
    assert numerator is not None and total is not None
    exponential = numerator.producer
    axis = _reduced_axis(total.producer, ReduceSum)
    if exponential is None or not isinstance(exponential.op, Exp) or axis is None or total.producer is None:
        return None
    if total.producer.inputs[0] is not numerator:
        return None
    x = exponential.inputs[0]
    assert x is not None
    shift = x.producer
    if shift is not None and isinstance(shift.op, Sub) and shift.inputs[1] is not None:
        source, largest = shift.inputs[0], shift.inputs[1].producer
        if largest is not None and source is not None and largest.inputs[0] is source and _reduced_axis(largest, ReduceMax) == axis:
            b.credit(shift)
            x = source
    rank = x.rank
    if rank is None:
        return Decline("the rank is unknown", node)
    b.credit(exponential)
    return b.add(Softmax(axis=axis if axis < 0 else axis - rank if axis == rank - 1 else axis), x)


@rewrites(P(Log)(P(Softmax, "softmax")("x")), name="recognize-log-softmax", group=GROUP)
def recognize_log_softmax(m: Match, b: Rewriter) -> Result:
    """log(softmax(x))."""
    return b.add(LogSoftmax(axis=m.op("softmax").axis), m["x"])
