"""What ONNX Runtime has no kernel for, or gets wrong, said in operators that it runs right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Graph, Node
from ...ir.ops.activation import Sigmoid, Swish
from ...ir.ops.binary import Mul
from ...ir.ops.cast import BitCast, Cast
from ...ir.ops.logical import BitwiseXor
from ...ir.ops.matmul import MatMul
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ...ir.ops.reshape import Reshape
from ...ir.ops.selection import TopK
from ...ir.ops.signal import DFT
from ...ir.ops.text import StringNormalizer
from ...ir.ops.transpose import Transpose
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.driver import apply_rules, index_of
from ...passes.legalize import SUPPORT, Legalize
from ...passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .matrix import PREFERRED, illegality

NAME = "legalize-ort"
GROUP = "ort-cures"
TRANSFORM_LIMIT = 1 << 20  # elements of the matrix that replaces a Fourier transform


@dataclass(frozen=True)
class LegalizeOrt(Pass):
    """Rewrite what ONNX Runtime has no kernel for, or computes wrongly, by operators that it runs right."""

    name: ClassVar[str] = NAME
    idempotent: ClassVar[bool] = True
    custom_ops: bool = False

    def run(self, graph: Graph, context: Context) -> Change:
        change = apply_rules(graph, index_of(GROUP), context)
        outer = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = lambda node, opset: illegality(node, opset, custom=self.custom_ops)
        try:
            return change | Legalize(opsets=PREFERRED).run(graph, context)
        finally:
            context.extras.pop(SUPPORT)
            if outer is not None:
                context.extras[SUPPORT] = outer


@rewrites_op(LSTM, GRU, RNN, name="ort-recurrent-layout", group=GROUP)
def batch_major(node: Node, b: Rewriter) -> Result:
    """Recurrent operators with batch-major data: transpose around the time-major form, the only one there are
    kernels for.
    """
    op = node.op
    assert isinstance(op, LSTM | GRU | RNN)
    if op.layout == 0:
        return None
    swap = Transpose((1, 0, 2))
    swapped = (0, 5, 6) if isinstance(op, LSTM) else (0, 5)
    operands = [b.add(swap, v) if i in swapped and v is not None else v for i, v in enumerate(node.inputs)]
    made = b.add(replace(op, layout=0), *operands, outputs=len(node.outputs))
    made = made if isinstance(made, tuple) else (made,)
    return tuple(b.add(Transpose((2, 0, 1, 3)) if i == 0 else swap, value) for i, value in enumerate(made))


@rewrites_op(StringNormalizer, name="ort-string-locale", group=GROUP)
def portable_locale(node: Node, b: Rewriter) -> Result:
    """Name a locale that every machine has; the runtime's default, en_US, is missing on bare ones."""
    op = node.op
    assert isinstance(op, StringNormalizer)
    return None if op.locale else b.add(replace(op, locale="C.UTF-8"), *node.inputs)


@rewrites_op(Swish, name="ort-spell-swish", group=GROUP)
def spell_swish(node: Node, b: Rewriter) -> Result:
    """x·σ(αx) in two operators, which the runtime fuses; it has no kernel for Swish."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Swish) and x is not None
    scaled = x if op.alpha == 1.0 else b.add(Mul(), x, b.scalar_like(x, op.alpha))
    return b.add(Mul(), x, b.add(Sigmoid(), scaled))


@rewrites_op(TopK, name="ort-topk-unsigned", group=GROUP)
def unsigned_top(node: Node, b: Rewriter) -> Result:
    """Order 64-bit unsigned numbers as signed ones by flipping the top bit."""
    x, count = node.inputs[0], node.inputs[1]
    if x is None or x.dtype is not DType.UINT64:
        return None
    top = b.constant(np.array(1 << 63, np.uint64))
    signed = b.add(Cast(DType.INT64), b.add(BitwiseXor(), x, top))
    values, indices = b.add(node.op, signed, count, outputs=2)
    return b.add(BitwiseXor(), b.add(Cast(DType.UINT64), values), top), indices


@rewrites_op(BitCast, name="ort-bitcast-bool", group=GROUP)
def bits_of_bools(node: Node, b: Rewriter) -> Result:
    """The bits of a bool are the number 0 or 1."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BitCast)
    if x is None or x.dtype is not DType.BOOL or op.to is not DType.UINT8:
        return None
    return b.add(Cast(DType.UINT8), x)


@rewrites_op(DFT, name="ort-transform-as-product", group=GROUP)
def transform_as_product(node: Node, b: Rewriter) -> Result:
    """A Fourier transform of a fixed length that is not a power of two as a matrix product.

    The runtime computes such lengths by Bluestein's algorithm in single precision, which loses two to three
    digits.
    """
    op, x = node.op, node.inputs[0]
    assert isinstance(op, DFT)
    length, axis = node.operand(1), node.operand(2)
    if x is None or x.shape is None or (axis is not None and axis.ints is None):
        return Decline("the rank or the axis is not known")
    # type: ignore[operator]
    place = (-2 if axis is None or axis.ints is None else axis.ints[0]) % x.tensor.rank
    size, parts = x.shape[place], x.shape[-1]
    if not isinstance(size, int) or not isinstance(parts, int):
        return Decline("the length of the signal is not fixed")
    if length is not None and length.ints is None:
        return Decline("the length of the transform is not fixed")
    wanted = size if length is None or length.ints is None else length.ints[0]
    if wanted & (wanted - 1) == 0:
        return None
    if size * wanted * parts * 2 > TRANSFORM_LIMIT:
        return Decline(f"a matrix for length {wanted} would be too large")
    matrix, (count, made_parts) = _transform_matrix(op, size, parts, wanted)
    rank = len(x.shape)
    others = [i for i in range(rank - 1) if i != place]
    last = b.add(Transpose((*others, place, rank - 1)), x)
    flat = b.add(Reshape(), last, b.ints([0] * len(others) + [size * parts]))
    product = b.add(MatMul(), flat, b.constant(matrix.astype(x.tensor.dtype.numpy)))
    shaped = b.add(Reshape(), product, b.ints([0] * len(others) + [count, made_parts]))
    order = [*others, place]
    return b.add(Transpose((*(order.index(i) for i in range(rank - 1)), rank - 1)), shaped)


def _transform_matrix(op: DFT, size: int, parts: int, length: int) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
    """The linear map of a transform, ``[size * parts, count * made parts]``, from what it does to each unit
    signal.
    """
    units = np.eye(size * parts).reshape(size * parts, size, parts)
    made = op.evaluate(units, np.array(length), np.array(1))
    matrix = made.reshape(size * parts, -1)
    matrix[np.abs(matrix) < 1e-9] = 0.0
    return matrix, (made.shape[1], made.shape[2])
