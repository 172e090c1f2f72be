"""Weights that a model describes instead of storing them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....ir.graph import Node
from ....ir.ops.conv import Conv, ConvTranspose
from ....ir.ops.generate import ConstantOfShape
from ....ir.ops.matmul import Gemm, MatMul
from ....ir.ops.normalization import BatchNormalization
from ....passes.driver import RulePass
from ....passes.rewriter import Result, Rewriter, rewrites_op

GROUP = "tflite-weights"
PARAMETRIC = (BatchNormalization, Conv, ConvTranspose, Gemm, MatMul)
LARGEST = 1 << 29  # bytes


@dataclass(frozen=True)
class TfLiteWeights(RulePass):
    """Store weights that the model fills at run time: kernels are fast with constant ones only, and normalisations fold into them."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@rewrites_op(ConstantOfShape, name="tflite-stored-weights", group=GROUP)
def stored(node: Node, b: Rewriter) -> Result:
    """A filled tensor of known size that is a parameter of a product or a normalisation becomes a constant."""
    op, shape, value = node.op, node.output.tensor.static_shape, node.output
    assert isinstance(op, ConstantOfShape)
    if shape is None or math.prod(shape) * value.tensor.dtype.bits // 8 > LARGEST:
        return None
    if not any(isinstance(user, Node) and isinstance(user.op, PARAMETRIC) and index > 0 for user, index in value.uses):
        return None
    number = np.zeros((), np.float32) if op.value is None else op.value.numpy().reshape(())
    return b.constant(np.broadcast_to(number, shape), value.dtype)
