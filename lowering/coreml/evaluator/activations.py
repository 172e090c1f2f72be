"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import erf
from .errors import undefined, unsupported
from .registry import Call, operator
from .values import Array


def logistic(x: Array) -> Array:
    """One over 1 + exp(-x), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def per_channel(values: Array, rank: int) -> Array:
    """A vector along axis 1 of a tensor with ``rank`` axes (a single value stays one)."""
    return values.reshape(1, -1, *(1,) * (rank - 2)) if values.ndim else values


@operator("clamped_relu")
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(np.where(x >= 0, x, alpha * x), beta)


@operator("elu")
def elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@operator("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    if mode == "EXACT":
        return 0.5 * x * (1 + erf(x / np.float32(math.sqrt(2))))
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * logistic(np.float32(1.702) * x)
    return unsupported(f"its mode is '{mode}'")


@operator("leaky_relu")
def leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, x, alpha * x)


@operator("linear_activation")
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    return alpha * x + beta


@operator("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    if not 3 <= x.ndim <= 5 or alpha.shape != (x.shape[1],):
        undefined(f"an input {list(x.shape)} and {list(alpha.shape)} slopes do not fit")
    return np.where(x > 0, x, per_channel(alpha, x.ndim) * x)


@operator("relu")
def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@operator("relu6")
def relu6(x: Array) -> Array:
    return np.minimum(np.maximum(x, 0), 6)


@operator("scaled_tanh")
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    return alpha * np.tanh(beta * x)


@operator("sigmoid")
def sigmoid(x: Array) -> Array:
    return logistic(x)


@operator("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(np.maximum(alpha * x + beta, 0), 1)


@operator("silu")
def silu(x: Array) -> Array:
    return x * logistic(x)


@operator("softplus")
def softplus(x: Array) -> Array:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


@operator("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    return per_channel(alpha, x.ndim) * softplus(per_channel(beta, x.ndim) * x)


@operator("softmax")
def softmax(x: Array, call: Call, axis: Any = -1) -> Array:
    """In float16 every step is rounded, as in MIL's own value inference and in the function body that ONNX gives."""
    element = call.outputs[0].element
    x = x.astype(np.float16) if element is not None and element.name == "fp16" else x
    weights = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return weights / weights.sum(axis=int(axis), keepdims=True)


@operator("softsign")
def softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


@operator("thresholded_relu")
def thresholded_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= alpha, x, 0)
