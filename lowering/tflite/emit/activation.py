"""Activations and normalised exponentials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip, Elu, Gelu, HardSwish, LeakyRelu, Mish, PRelu, Relu, Sigmoid, Softplus
from ....ir.ops.softmax import LogSoftmax, Softmax
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no

GREATEST_RANK = 6  # of XNNPACK
CLIPPED = frozenset((DType.FLOAT, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8))
MISH_LIMIT = 20.0
SERIES_TERMS = 8  # the ninth is below 2e-9 of the first
KERNELS = {Relu: "RELU", Sigmoid: "LOGISTIC", HardSwish: "HARD_SWISH", Elu: "ELU"}
CLIPS = {(0.0, None): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}  # XNNPACK has no RELU_0_TO_1


@emits(Relu, Sigmoid, HardSwish)
@emits(Elu, when=lambda node: None if node.op.alpha == 1 else "the kernel's alpha is 1")  # type: ignore[attr-defined]
def activation(e: Emitter, node: Node) -> None:
    e.op(KERNELS[type(node.op)], [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Relu, dtypes=frozenset((DType.INT32, DType.INT64)))
def integer_relu(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    e.op("MAXIMUM", [x, e.number(0, e.dtype(x))], [e.result(node.output)])


@emits(LeakyRelu)
def leaky_relu(e: Emitter, node: Node) -> None:
    assert isinstance(node.op, LeakyRelu)
    e.op("LEAKY_RELU", [e.operand(node.inputs[0])], [e.result(node.output)], alpha=node.op.alpha)


@emits(Gelu)
def gelu(e: Emitter, node: Node) -> None:
    assert isinstance(node.op, Gelu)
    e.op("GELU", [e.operand(node.inputs[0])], [e.result(node.output)], approximate=node.op.approximate == "tanh")


@emits(PRelu)
def prelu(e: Emitter, node: Node) -> None:
    e.op("PRELU", [e.operand(v) for v in node.inputs], [e.result(node.output)])


def _number(value: Value | None) -> float | None:
    if value is None or value.data is None:
        return None
    return float(np.asarray(value.data.numpy()).reshape(-1)[0])


@emits(Clip, dtypes=CLIPPED)
def clip(e: Emitter, node: Node) -> None:
    x, low, high = e.operand(node.inputs[0]), node.operand(1), node.operand(2)
    if low is None and high is None:
        e.copy_into(x, e.result(node.output))
        return
    constants = all(v is None or v.data is not None for v in (low, high))
    kernel = CLIPS.get((_number(low), _number(high)) if constants else (None, None))  # type: ignore[arg-type]
    if kernel is not None and e.dtype(x) is DType.FLOAT:
        e.op(kernel, [x], [e.result(node.output)])
        return
    if low is not None:  # the bound comes first, so that NaN stays NaN
        pair = [e.operand(low), x]
        if high is None:
            e.op("MAXIMUM", pair, [e.result(node.output)])
            return
        x = e.temporary(e.shape(x), e.dtype(x))
        e.op("MAXIMUM", pair, [x])
    e.op("MINIMUM", [e.operand(high), x], [e.result(node.output)])


def _rows_known(node: Node) -> Verdict | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Softmax | LogSoftmax) and x is not None and x.rank is not None
    if x.rank <= GREATEST_RANK:
        return None
    if op.axis % x.rank != x.rank - 1 or x.tensor.static_shape is None:
        return no(f"the kernel takes at most {GREATEST_RANK} dimensions, not {x.rank}", "rank")
    return None


@emits(Softmax, LogSoftmax, when=_rows_known)
def softmax(e: Emitter, node: Node) -> None:
    """The kernels work along the last axis; another one is brought there."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Softmax | LogSoftmax) and x is not None and x.rank is not None
    kernel = "SOFTMAX" if isinstance(op, Softmax) else "LOG_SOFTMAX"
    options: dict[str, Any] = {"beta": 1.0} if kernel == "SOFTMAX" else {}
    tensor = e.operand(x)
    axis = op.axis % x.rank
    if x.rank > GREATEST_RANK and axis == x.rank - 1:
        flat = e.unary(kernel, e.reshaped(tensor, [_rows(e.shape(tensor)), e.shape(tensor)[-1]]), **options)
        e.reshape_into(flat, e.result(node.output), e.shape(tensor))
        return
    if axis == x.rank - 1:
        e.op(kernel, [tensor], [e.result(node.output)], **options)
        return
    order = list(range(x.rank))
    order[axis], order[-1] = order[-1], order[axis]
    e.op("TRANSPOSE", [e.unary(kernel, e.transposed(tensor, order), **options), e.ints(order)], [e.result(node.output)])


def _rows(shape: Sequence[int | None]) -> int:
    return math.prod(d for d in shape[:-1] if d is not None)


@emits(Softplus, level="decomposed")
def softplus(e: Emitter, node: Node) -> None:
    """``max(x, 0) + log(1 + exp(-|x|))``, with the logarithm exact to float32 where the exponential is small."""
    x = e.operand(node.inputs[0])
    small = e.unary("EXP", e.unary("NEG", e.unary("ABS", x)))
    e.op("ADD", [e.unary("RELU", x), _logarithm_series(e, small)], [e.result(node.output)], fusedActivationFunction=0)


def _logarithm_series(e: Emitter, y: int) -> int:
    """``log(1 + y)`` for ``-1/2 <= y <= 1``: ``2 (s + s³/3 + s⁵/5 + …)`` with ``s = y / (2 + y)``, of size at most 1/3.

    The kernel of LOG is off by 1e-7 near one, where the logarithm is small.
    """
    s = e.binary("DIV", y, e.binary("ADD", y, e.number(2.0), fusedActivationFunction=0), fusedActivationFunction=0)
    square, total = e.unary("SQUARE", s), e.number(2 / (2 * SERIES_TERMS - 1))
    for term in range(SERIES_TERMS - 2, -1, -1):
        total = e.binary("MUL", square, total, fusedActivationFunction=0)
        total = e.binary("ADD", total, e.number(2 / (2 * term + 1)), fusedActivationFunction=0)
    return e.binary("MUL", s, total, fusedActivationFunction=0)


def log_one_plus(e: Emitter, y: int) -> int:
    """``log(1 + y)``, exact to float32 for small ``y`` too."""
    near = e.binary("LESS", e.unary("ABS", y), e.number(0.5), DType.BOOL)
    result = e.temporary(e.shape(y), DType.FLOAT)
    far = e.unary("LOG", e.binary("ADD", y, e.number(1.0), fusedActivationFunction=0))
    e.op("SELECT_V2", [near, _logarithm_series(e, y), far], [result])
    return result


@emits(Mish, level="decomposed")
def mish(e: Emitter, node: Node) -> None:
    """``x * tanh(softplus(x)) = x * n / (n + 2)`` with ``n = y * (y + 2)`` and ``y = exp(x)``; bounded where that is one."""
    x = e.operand(node.inputs[0])
    y = e.unary("EXP", e.binary("MINIMUM", e.number(MISH_LIMIT), x))
    n = e.binary("MUL", y, e.binary("ADD", y, e.number(2.0), fusedActivationFunction=0), fusedActivationFunction=0)
    share = e.binary("DIV", n, e.binary("ADD", n, e.number(2.0), fusedActivationFunction=0), fusedActivationFunction=0)
    e.op("MUL", [x, share], [e.result(node.output)], fusedActivationFunction=0)
