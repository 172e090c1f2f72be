"""Random numbers; a seed makes them reproducible here, the system draws its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Call, operator
from .shaping import axis_list
from .values import Array


@operator("random_uniform")
def random_uniform(shape: Any, call: Call, low: Any = 0.0, high: Any = 1.0, seed: Any = -1) -> Array:
    return _generator(seed).uniform(float(low), float(high), axis_list(shape)).astype(_stored(call))


@operator("random_normal")
def random_normal(shape: Any, call: Call, mean: Any = 0.0, stddev: Any = 1.0, seed: Any = -1) -> Array:
    return _generator(seed).normal(float(mean), float(stddev), axis_list(shape)).astype(_stored(call))


@operator("random_bernoulli")
def random_bernoulli(shape: Any, call: Call, prob: Any = 0.5, seed: Any = -1) -> Array:
    return (_generator(seed).random(axis_list(shape)) < float(prob)).astype(_stored(call))


@operator("random_categorical")
def random_categorical(x: Array, mode: Any = "logits", size: Any = 1, seed: Any = -1) -> Array:
    """Indices along the last axis, drawn with replacement: the greatest of the logarithms with Gumbel noise."""
    with np.errstate(divide="ignore"):
        logits = x.astype(np.float64) if str(mode) == "logits" else np.log(x.astype(np.float64))
    noise = _generator(seed).gumbel(size=(*x.shape[:-1], int(size), x.shape[-1]))
    return (logits[..., None, :] + noise).argmax(axis=-1).astype(x.dtype)


def _generator(seed: Any) -> np.random.Generator:
    return np.random.default_rng(None if int(seed) < 0 else int(seed))


def _stored(call: Call) -> Any:
    element = call.outputs[0].element
    return np.float32 if element is None else element.stored
