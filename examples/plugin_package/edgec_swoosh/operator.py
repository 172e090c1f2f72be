"""The operator com.example.Swoosh: x · sigmoid(alpha · x), which a framework exports as one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import edgec
from edgec.ir.graph import Node, Value
from edgec.ir.op import Op
from edgec.ir.ops.activation import Sigmoid
from edgec.ir.ops.binary import Mul
from edgec.ir.types import TensorType
from edgec.passes.rewriter import Rewriter


@dataclass(frozen=True)
class Swoosh(Op):
    """``x · sigmoid(alpha · x)``."""

    domain: ClassVar[str] = "com.example"
    elementwise: ClassVar[bool] = True
    alpha: float = 1.0

    def infer(self, x: TensorType) -> TensorType:
        return TensorType(x.dtype, x.shape)

    def evaluate(self, x: Any) -> Any:
        return (x / (1 + np.exp(-self.alpha * x))).astype(x.dtype)


def decompose(node: Node, b: Rewriter) -> Value:
    """Swoosh by Mul and Sigmoid, for which every runtime has kernels."""
    x = node.inputs[0]
    assert x is not None and isinstance(node.op, Swoosh)
    return b.add(Mul(), x, b.add(Sigmoid(), b.add(Mul(), x, b.scalar_like(x, node.op.alpha))))


edgec.register_op(Swoosh, route="decompose", decompose=decompose)
