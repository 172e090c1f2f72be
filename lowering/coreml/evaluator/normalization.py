"""Normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activations import per_channel
from .errors import undefined
from .registry import operator
from .values import Array


@operator("batch_norm")
def batch_norm(x: Array, mean: Array, variance: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5) -> Array:
    """Normalise each channel by a given mean and variance."""
    scale = 1 / np.sqrt(variance + epsilon)
    if gamma is not None:
        scale = scale * gamma
    y = (x - per_channel(mean, x.ndim)) * per_channel(scale, x.ndim)
    return y if beta is None else y + per_channel(beta, x.ndim)


@operator("instance_norm")
def instance_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5) -> Array:
    """Normalise each channel of each image by its own mean and variance."""
    y = _standardised(x, tuple(range(2, x.ndim)), epsilon)
    if gamma is not None:
        y = y * per_channel(gamma, x.ndim)
    return y if beta is None else y + per_channel(beta, x.ndim)


def _standardised(x: Array, axes: tuple[int, ...], epsilon: Any) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon)


@operator("layer_norm")
def layer_norm(x: Array, axes: Any = None, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5) -> Array:
    """Normalise over some axes; gamma and beta have the sizes of those axes in their order."""
    chosen = tuple(range(x.ndim)) if axes is None else tuple(sorted(int(a) % x.ndim for a in np.asarray(axes).reshape(-1)))
    sizes = [n if a in chosen else 1 for a, n in enumerate(x.shape)]
    y = _standardised(x, chosen, epsilon)
    if gamma is not None:
        y = y * gamma.reshape(sizes)
    return y if beta is None else y + beta.reshape(sizes)


@operator("l2_norm")
def l2_norm(x: Array, epsilon: Any = 1e-6) -> Array:
    """Divide by the Euclidean norm over the last three axes."""
    if x.ndim < 3:
        undefined(f"the input has rank {x.ndim}, it needs at least 3")
    return x / np.sqrt(np.square(x).sum(axis=(-3, -2, -1), keepdims=True) + epsilon)


@operator("local_response_norm")
def local_response_norm(x: Array, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Array:
    """Divide each element by a power of k plus the scaled sum of squares of its channel's neighbours, ``size // 2`` before it."""
    if x.ndim < 4:
        undefined("the documentation and the tests of coremltools disagree about inputs of rank 3")
    before, after = int(size) // 2, (int(size) - 1) // 2
    squares = np.square(x)
    total = np.empty_like(x)
    for channel in range(x.shape[1]):
        total[:, channel] = squares[:, max(channel - before, 0) : channel + after + 1].sum(axis=1)
    return x / np.power(k + alpha / np.float32(size) * total, beta)


@operator("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """Attention over the last two axes; a boolean mask says who takes part, another one is added to the scores."""
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * np.float32(1 / math.sqrt(query.shape[-1]))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == np.bool_ else scores + attn_mask
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.matmul(weights / weights.sum(axis=-1, keepdims=True), value)
