"""Random numbers. Core ML draws its own: with a seed the same ones each time a model is loaded, without one others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.random import RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike
from ...seeds import whole_seed
from .context import Emission, ints
from .translation import FLOATS, Obstacle, translates

NO_SEED = -1


def _floats(node: Node) -> Obstacle | None:
    return None if node.output.dtype in FLOATS else Obstacle("dtype", f"MIL draws no numbers of type {node.output.dtype}")


@translates(RandomUniform, RandomUniformLike, dtypes=None, when=_floats)
def random_uniform(e: Emission, node: Node) -> None:
    """Numbers between two bounds."""
    op, number = node.op, node.output.tensor.dtype.numpy.type
    assert isinstance(op, RandomUniform | RandomUniformLike)
    e.bind(node, e.mil.random_uniform(shape=_shape(e, node), low=number(op.low), high=number(op.high), seed=_seed(op.seed)))


@translates(RandomNormal, RandomNormalLike, dtypes=None, when=_floats)
def random_normal(e: Emission, node: Node) -> None:
    """Normally distributed numbers."""
    op, number = node.op, node.output.tensor.dtype.numpy.type
    assert isinstance(op, RandomNormal | RandomNormalLike)
    e.bind(node, e.mil.random_normal(shape=_shape(e, node), mean=number(op.mean), stddev=number(op.scale), seed=_seed(op.seed)))


def _shape(e: Emission, node: Node) -> Any:
    """The sizes of the result: known, or those of the operand."""
    known = node.output.tensor.static_shape
    return ints(known) if known is not None else e.mil.shape(x=e.operand(node))


def _seed(seed: float | None) -> np.int32:
    whole = whole_seed(seed)
    return np.int32(NO_SEED if whole is None else whole)
