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


def _generator(seed: Any) -> np.random.Generator:
    return np.random.default_rng(None if int(seed) < 0 else int(seed))


def _stored(call: Call) -> Any:
    element = call.outputs[0].element
    return np.float32 if element is None else element.stored
