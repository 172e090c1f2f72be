"""Weights that are one number everywhere, written out: kernels are fast with weights that are known, and only such fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.graph import Node
from ...ir.ops.conv import Conv, ConvTranspose
from ...ir.ops.generate import ConstantOfShape
from ...ir.ops.matmul import Gemm, MatMul
from ...ir.ops.normalization import BatchNormalization
from ..driver import RulePass
from ..rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "materialize-weights"
WEIGHTED = (Conv, ConvTranspose, Gemm, MatMul, BatchNormalization)


@dataclass(frozen=True)
class MaterializeWeights(RulePass):
    """Turn ConstantOfShape into a constant where it gives the weights of products or the statistics of normalisations."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@rewrites_op(ConstantOfShape, name="fill-to-weights", group=GROUP)
def fill_to_weights(node: Node, b: Rewriter) -> Result:
    """ConstantOfShape that only products read, as a weight or bias, is a constant."""
    op, result = node.op, node.output
    assert isinstance(op, ConstantOfShape)
    shape = result.tensor.static_shape
    if shape is None:
        return Decline("its shape is not known")
    if not all(_is_weight(user, index) for user, index in result.uses):
        return Decline("not only weights are made of it")
    number = op.value.numpy().reshape(-1)[0] if op.value is not None else 0
    return b.constant(np.full(shape, number, result.tensor.dtype.numpy), result.tensor.dtype)


def _is_weight(user: object, index: int) -> bool:
    return isinstance(user, Node) and isinstance(user.op, WEIGHTED) and index > 0
