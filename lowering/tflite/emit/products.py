"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node, Value
from ....ir.ops.matmul import Gemm
from ..emitter import Emitter
from ..registry import emits


def elements(value: Value) -> Any:
    """The array of a constant."""
    assert value.data is not None
    return value.data.numpy()


def _row_bias(node: Node) -> str | None:
    bias = node.operand(2)
    if bias is None:
        return None
    if bias.data is None:
        return "the added matrix is computed at run time"
    return "the added matrix differs from row to row" if any(d != 1 for d in bias.data.shape[:-1]) else None


@emits(Gemm, when=_row_bias)
def gemm(e: Emitter, node: Node) -> None:
    """FULLY_CONNECTED with weights ``[out, in]``."""
    op, a, b, bias = node.op, node.inputs[0], node.inputs[1], node.operand(2)
    assert isinstance(op, Gemm) and a is not None and b is not None
    x = e.operand(a)
    if op.transA:
        x = e.transposed(x, [1, 0])
    if b.data is not None:
        weights = elements(b) if op.transB else elements(b).T
        w = e.constant(weights * np.float32(op.alpha) if op.alpha != 1 else weights, b.name)
    else:
        w = e.operand(b) if op.transB else e.transposed(e.operand(b), [1, 0])
        if op.alpha != 1:
            w = e.binary("MUL", w, e.number(op.alpha))
    c = -1
    if bias is not None:
        features = e.shape(w)[0]
        assert features is not None
        c = e.constant(np.broadcast_to(elements(bias).reshape(-1) * np.float32(op.beta), (features,)), bias.name)
    y, code = e.activated(node)
    e.op("FULLY_CONNECTED", [x, w, c], [y], fusedActivationFunction=code, keepNumDims=False)
