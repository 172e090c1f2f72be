"""Products in the form that FULLY_CONNECTED has."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.ops.matmul import MatMul
from ....passes.rewriter import Result, Rewriter, rewrites_op
from ...products import with_stored_weights
from .group import GROUP


@rewrites_op(MatMul, name="tflite-stored-product-weights", group=GROUP)
def stored_weights(node: Node, b: Rewriter) -> Result:
    """A product with a transposed constant reads it as it is stored."""
    return with_stored_weights(node, b)
