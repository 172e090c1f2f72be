"""Activations and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.activation import (
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    PRelu,
    Relu,
    Sigmoid,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)
from ....ir.ops.softmax import Softmax
from .context import Emission
from .translation import INTEGERS, Obstacle, translates

_PLAIN = {Relu: "relu", Sigmoid: "sigmoid", Softplus: "softplus", Softsign: "softsign"}


@translates(*_PLAIN)
def plain(e: Emission, node: Node) -> None:
    """Activations without parameters."""
    e.bind(node, getattr(e.mil, _PLAIN[type(node.op)])(x=e.operand(node)))


@translates(Relu, dtypes=INTEGERS, level="decomposed")
def integer_relu(e: Emission, node: Node) -> None:
    """The maximum with zero."""
    x = e.operand(node)
    e.bind(node, e.mil.maximum(x=x, y=e.like(0, x)))


@translates(ThresholdedRelu)
def thresholded(e: Emission, node: Node) -> None:
    """What lies above alpha: MIL keeps alpha itself too, so that it is given the next number."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, ThresholdedRelu)
    e.bind(node, e.mil.thresholded_relu(x=x, alpha=next_number(e.like(op.alpha, x))))


def next_number(number: Any) -> Any:
    """The smallest number of the same type that is greater."""
    return np.nextafter(number, number.dtype.type(np.inf))


@translates(Elu, LeakyRelu)
def sloped(e: Emission, node: Node) -> None:
    """Activations with the parameter alpha."""
    names = {Elu: "elu", LeakyRelu: "leaky_relu"}
    x = e.operand(node)
    e.bind(node, getattr(e.mil, names[type(node.op)])(x=x, alpha=e.like(node.op.alpha, x)))  # type: ignore[attr-defined]


@translates(HardSigmoid)
def hard_sigmoid(e: Emission, node: Node) -> None:
    """``min(max(alpha * x + beta, 0), 1)``."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, HardSigmoid)
    e.bind(node, e.mil.sigmoid_hard(x=x, alpha=e.like(op.alpha, x), beta=e.like(op.beta, x)))


@translates(HardSwish, level="decomposed")
def hard_swish(e: Emission, node: Node) -> None:
    """``x * hard_sigmoid(x)`` with slope 1/6."""
    x = e.operand(node)
    e.bind(node, e.mil.mul(x=x, y=e.mil.sigmoid_hard(x=x, alpha=e.like(1 / 6, x), beta=e.like(0.5, x))))


@translates(Swish, level="decomposed")
def swish(e: Emission, node: Node) -> None:
    """MIL's silu for alpha 1, else the product."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Swish)
    if op.alpha == 1.0:
        e.bind(node, e.mil.silu(x=x))
        return
    e.bind(node, e.mil.mul(x=x, y=e.mil.sigmoid(x=e.mil.mul(x=x, y=e.like(op.alpha, x)))))


@translates(Gelu)
def gelu(e: Emission, node: Node) -> None:
    """Exact or by tanh, as the attribute says."""
    op = node.op
    assert isinstance(op, Gelu)
    mode = "TANH_APPROXIMATION" if op.approximate == "tanh" else "EXACT"
    e.bind(node, e.mil.gelu(x=e.operand(node), mode=mode))


def _slope(node: Node) -> Obstacle | None:
    x, slope = node.inputs[0], node.inputs[1]
    assert x is not None and slope is not None
    shape, dims = slope.tensor.static_shape, x.shape
    if slope.data is None or shape is None or dims is None or not 3 <= len(dims) <= 5:
        return Obstacle("dynamic-parameter", "MIL wants a constant slope per channel and an operand of rank 3 to 5")
    lead = (1,) * (len(dims) - len(shape)) + shape
    if any(n != 1 for axis, n in enumerate(lead) if axis != 1) or not isinstance(dims[1], int) or len(lead) != len(dims):
        return Obstacle("attribute", "MIL has one slope per channel")
    return None


@translates(PRelu, when=_slope)
def prelu(e: Emission, node: Node) -> None:
    """One slope per channel."""
    x = e.operand(node)
    slope = e.known(node, 1).reshape(-1)
    channels = int(x.shape[1])
    e.bind(node, e.mil.prelu(x=x, alpha=np.ascontiguousarray(np.broadcast_to(slope, (channels,)))))


@translates(Clip, dtypes=None, level="decomposed")
def clip(e: Emission, node: Node) -> None:
    """MIL's clip between constants, else maximum and minimum."""
    x = e.operand(node)
    low, high = e.known(node, 1), e.known(node, 2)
    given = [node.operand(1), node.operand(2)]
    floats = e.kind(x) in ("fp32", "fp16")
    if floats and low is not None and high is not None and float(low.reshape(())) <= float(high.reshape(())):
        e.bind(node, e.mil.clip(x=x, alpha=e.like(low.reshape(()), x), beta=e.like(high.reshape(()), x)))
        return
    result = x
    for value, function in zip(given, (e.mil.maximum, e.mil.minimum), strict=True):
        if value is not None:
            result = function(x=result, y=e.wide(value))
    e.bind(node, result if result is not x else e.mil.identity(x=x))


@translates(Softmax)
def softmax(e: Emission, node: Node) -> None:
    """Softmax over one axis."""
    op = node.op
    assert isinstance(op, Softmax)
    e.bind(node, e.mil.softmax(x=e.operand(node), axis=op.axis))
