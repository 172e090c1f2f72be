"""Products with weights that are stored as ``[out, in]``."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.ops.matmul import Gemm, MatMul
from ..ir.ops.transpose import Transpose
from ..passes.decompose.terms import Terms
from ..passes.rewriter import Result, Rewriter


def with_stored_weights(node: Node, b: Rewriter) -> Result:
    """A product with a transposed constant reads the constant as it is stored: a Gemm on rows.

    The embedding of a language model is often the last product's weights too; transposed it would be there twice, or turned at run time.
    """
    assert isinstance(node.op, MatMul)
    x, turned = node.inputs[0], node.inputs[1]
    transpose = turned.producer if turned is not None else None
    if x is None or transpose is None or not isinstance(transpose.op, Transpose) or transpose.op.perm not in ((1, 0), None):
        return None
    weights = transpose.inputs[0]
    if weights is None or weights.data is None or weights.rank != 2 or x.rank is None or x.rank < 2:
        return None
    shape = weights.tensor.static_shape
    if shape is None:
        return None
    t = Terms(b)
    b.credit(transpose)
    rows = x if x.rank == 2 else t.reshape(x, [-1, shape[1]])
    result = t.apply(Gemm(transB=1), rows, weights)
    return result if x.rank == 2 else t.reshape(result, [*[t.dim(x, i) for i in range(x.rank - 1)], shape[0]])
