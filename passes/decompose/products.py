"""Matrix products and convolutions with something attached, by the plain ones."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value
from ...ir.ops.activation import Clip, Elu, HardSigmoid, HardSwish, LeakyRelu, Relu, Softplus, Softsign, ThresholdedRelu
from ...ir.ops.conv import Conv
from ...ir.ops.matmul import Gemm
from ...ir.ops.microsoft_elementwise import BiasAdd, FusedConv, FusedGemm, FusedMatMul
from ..rewriter import Decline, Result
from .activations import operand
from .base import decomposes
from .terms import Terms

GROUP = "decompose-products"
_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@decomposes(Gemm, name="decompose-gemm", group=GROUP)
def gemm(node: Node, t: Terms) -> Result:
    """``alpha A B + beta C`` by Transpose, MatMul, Mul and Add."""
    op = node.op
    assert isinstance(op, Gemm)
    a, b, c = operand(node, t), operand(node, t, 1), node.operand(2)
    a = t.transpose(a, (1, 0)) if op.transA else a
    b = t.transpose(b, (1, 0)) if op.transB else b
    y = t.matmul(a, b)
    whole = y.dtype is not None and y.dtype.is_integer
    if op.alpha != 1:
        y = t.mul(y, int(op.alpha) if whole else op.alpha)
    if c is not None:
        wide = t.widen(c)
        y = t.add(y, wide if op.beta == 1 else t.mul(wide, int(op.beta) if whole else op.beta))
    return t.cast(y, node.output.dtype)


@decomposes(FusedMatMul, name="decompose-fused-matmul", group=GROUP)
def fused_matmul(node: Node, t: Terms) -> Result:
    """Transposes, MatMul, and the factor."""
    op = node.op
    assert isinstance(op, FusedMatMul)
    a, b = operand(node, t), operand(node, t, 1)
    if a.rank is None or b.rank is None:
        return Decline("the rank of an operand is not known")
    y = t.matmul(
        t.transpose(a, _matrix_order(a.rank, op.transA, op.transBatchA)), t.transpose(b, _matrix_order(b.rank, op.transB, op.transBatchB))
    )
    return t.cast(y if op.alpha == 1 else t.mul(y, op.alpha), node.output.dtype)


def _matrix_order(rank: int, transposed: int, batch: int) -> list[int]:
    order = list(range(rank))
    if rank > 2 and batch:
        order = [*order[1:-1], 0, order[-1]]
    if rank > 1 and transposed:
        order[-2], order[-1] = order[-1], order[-2]
    return order


def activated(t: Terms, y: Value, name: str | None, parameters: Sequence[float]) -> Value | None:
    """An activation that com.microsoft operators name by text; None for an unknown name."""
    p = [*parameters, 0.0, 0.0]
    if not name:
        return y
    if name == "Tanh":
        return t.tanh(y)
    if name == "Sigmoid":
        return t.sigmoid(y)
    if name == "Clip":
        return t.apply(Clip(), y, t.like(p[0], y), t.like(p[1], y))
    if name == "ScaledTanh":
        return t.mul(t.tanh(t.mul(y, p[1])), p[0])
    if name == "ParametricSoftplus":
        return t.mul(t.apply(Softplus(), t.mul(y, p[1])), p[0])
    ops = {
        "Relu": Relu(), "Softplus": Softplus(), "Softsign": Softsign(), "HardSwish": HardSwish(), "LeakyRelu": LeakyRelu(p[0]),
        "Elu": Elu(p[0]), "ThresholdedRelu": ThresholdedRelu(p[0]), "HardSigmoid": HardSigmoid(p[0], p[1]),
    }  # fmt: skip
    return t.apply(ops[name], y) if name in ops else None


@decomposes(FusedGemm, name="decompose-fused-gemm", group=GROUP)
def fused_gemm(node: Node, t: Terms) -> Result:
    """Gemm, then the activation."""
    op = node.op
    assert isinstance(op, FusedGemm)
    y = t.apply(Gemm(alpha=op.alpha, beta=op.beta, transA=op.transA, transB=op.transB), *node.inputs)
    parameters = [p for p in (op.activation_alpha, op.activation_beta, op.activation_gamma) if p is not None]
    done = activated(t, y, op.activation, parameters)
    return Decline(f"the activation {op.activation} is not known") if done is None else done


@decomposes(FusedConv, name="decompose-fused-conv", group=GROUP)
def fused_conv(node: Node, t: Terms) -> Result:
    """Conv, Add, then the activation."""
    op = node.op
    assert isinstance(op, FusedConv)
    y = t.apply(Conv(**{name: getattr(op, name) for name in _CONV}), *node.inputs[:3])
    added = node.operand(3)
    if added is not None:
        y = t.add(y, added)
    done = activated(t, y, op.activation, op.activation_params or ())
    return Decline(f"the activation {op.activation} is not known") if done is None else done


@decomposes(BiasAdd, name="decompose-bias-add", group=GROUP)
def bias_add(node: Node, t: Terms) -> Result:
    """``x + bias + skip``."""
    total = t.add(t.add(operand(node, t), operand(node, t, 1)), operand(node, t, 2))
    return t.cast(total, node.output.dtype)
