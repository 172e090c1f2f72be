"""float16 and bfloat16: LiteRT computes both in float32, and what one operator hands to the next need not be rounded in between."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.cast import Cast
from ....passes.legalize import ROUNDING
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .group import GROUP


@rewrites_op(Cast, name="tflite-carried-precision", group=GROUP)
def carried_precision(node: Node, b: Rewriter) -> Result:
    """A result computed in float32, rounded to 16 bits and widened again, is taken as it was: nearer to the exact one.

    Only roundings that this target has put in go; those that the model asks for by a Cast of its own stay.
    """
    rounded = node.inputs[0]
    inner = rounded.producer if rounded is not None else None
    if inner is None or not isinstance(inner.op, Cast) or ROUNDING not in inner.metadata:
        return None
    source = inner.inputs[0]
    if source is None or source.dtype is not DType.FLOAT or node.output.dtype is not DType.FLOAT:
        return None
    if inner.output.dtype not in (DType.FLOAT16, DType.BFLOAT16):
        return None
    b.credit(inner)
    return source
