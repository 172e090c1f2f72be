"""Products of matrices."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.binary import Add
from ....ir.ops.matmul import Gemm, MatMul
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .conditions import sizes

GREATEST_RANK = 5  # of BATCH_MATMUL; FULLY_CONNECTED takes six dimensions with XNNPACK
GREATEST_INPUT_RANK = 6


def _row_bias(node: Node) -> str | None:
    bias = node.operand(2)
    if bias is None:
        return None
    if bias.data is None and (node.op.beta != 1 or bias.shape != node.output.shape[-1:]):  # type: ignore[attr-defined,index]
        return "the added matrix is computed at run time"
    return "the added matrix differs from row to row" if any(d != 1 for d in (bias.shape or ())[:-1]) else None


@emits(Gemm, when=_row_bias)
def gemm(e: Emitter, node: Node) -> None:
    """FULLY_CONNECTED with weights ``[out, in]``."""
    op, a, b, bias = node.op, node.inputs[0], node.inputs[1], node.operand(2)
    assert isinstance(op, Gemm) and a is not None and b is not None
    x = e.operand(a)
    if op.transA:
        x = e.transposed(x, [1, 0])
    if b.data is not None and (op.alpha != 1 or not op.transB):
        weights = e.array(b) if op.transB else e.array(b).T
        w = e.constant(weights * np.float32(op.alpha) if op.alpha != 1 else weights, b.name)
    else:
        w = e.operand(b) if op.transB else e.transposed(e.operand(b), [1, 0])
        if op.alpha != 1:
            w = e.binary("MUL", w, e.number(op.alpha), fusedActivationFunction=0)
    c = e.operand(bias) if bias is not None and bias.data is None else -1
    if bias is not None and bias.data is not None:
        features = e.shape(w)[0]
        if features is None:
            features = e.array(bias).size
        c = e.constant(np.broadcast_to(e.array(bias).reshape(-1) * np.float32(op.beta), (features,)), bias.name)
    y, code = e.activated(node)
    e.op("FULLY_CONNECTED", [x, w, c], [y], fusedActivationFunction=code, keepNumDims=False)


def _weighted(node: Node) -> Verdict | None:
    a, b = node.inputs
    assert a is not None and b is not None and a.rank is not None
    if b.data is None or len(b.data.shape) != 2:
        return no("the second operand is no constant matrix", "dynamic-parameter")
    if not 2 <= a.rank <= GREATEST_INPUT_RANK:
        return no(f"the kernel takes two to {GREATEST_INPUT_RANK} dimensions, not {a.rank}", "rank")
    return None


@emits(MatMul, when=_weighted)
def linear(e: Emitter, node: Node) -> None:
    """FULLY_CONNECTED with the bias of the addition that follows."""
    a, b = node.inputs
    assert a is not None and b is not None
    x, weights = e.operand(a), e.array(b)
    w = e.constant(weights.T, b.name)
    reader, c = e.only_user(node), -1
    bias = _bias(node, reader, weights.shape[1])
    last = node
    if reader is not None and bias is not None:
        c, last = e.constant(e.array(bias).reshape(-1), bias.name), reader
        e.absorb(reader)
    y, code = e.activated(last)
    e.op("FULLY_CONNECTED", [x, w, c], [y], fusedActivationFunction=code, keepNumDims=a.rank != 2)


def _bias(node: Node, reader: Node | None, features: int) -> Value | None:
    """The constant vector that the only reader of a product adds to its rows."""
    if reader is None or not isinstance(reader.op, Add):
        return None
    other = reader.inputs[1] if reader.inputs[0] is node.output else reader.inputs[0]
    if other is None or other.data is None or len(other.data.shape) > (node.output.rank or 0):
        return None
    return other if other.data.shape[-1:] == (features,) and all(d == 1 for d in other.data.shape[:-1]) else None


def _batches(node: Node) -> Verdict | None:
    a, b = node.inputs
    assert a is not None and b is not None and a.rank is not None and b.rank is not None
    rank = max(a.rank, b.rank)
    if rank > GREATEST_RANK:
        return no(f"the kernel takes at most {GREATEST_RANK} dimensions, not {rank}", "rank")
    if 1 in (a.rank, b.rank) and (sizes(node.output).count(None) > 1 or None in sizes(a if a.rank == 1 else b)):
        return no("a vector of unknown length takes part", "dynamic-shape")
    return None


@emits(MatMul, when=_batches)
def product(e: Emitter, node: Node) -> None:
    """BATCH_MATMUL; a vector is a matrix of one row or column."""
    a, b = node.inputs
    assert a is not None and b is not None
    x, y = e.operand(a), e.operand(b)
    if a.rank != 1 and b.rank != 1:
        e.op("BATCH_MATMUL", [x, y], [e.result(node.output)], adjX=False, adjY=False)
        return
    if a.rank == 1:
        x = e.reshaped(x, [1, *e.shape(x)])
    if b.rank == 1:
        y = e.reshaped(y, [*e.shape(y), 1])
    left, right = e.shape(x), e.shape(y)
    longer = left if len(left) >= len(right) else right
    z = e.temporary([*longer[:-2], left[-2], right[-1]], DType.FLOAT)
    e.op("BATCH_MATMUL", [x, y], [z], adjX=False, adjY=False)
    e.reshape_into(z, e.result(node.output), sizes(node.output))
