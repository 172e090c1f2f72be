"""What ONNX Runtime's kernels get wrong or refuse only when they run; the kernel registry does not tell
these.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.attention import Attention
from ...ir.ops.binary import Mod
from ...ir.ops.pooling import MaxUnpool
from ...ir.ops.quantized_products import ConvInteger
from ...ir.ops.resize import Resize
from ..support import Condition, Obstacle

Restriction = Callable[[Node, int], "str | None"]
FLOAT_MODULO_SINCE = 28


def restriction(node: Node, opset: int) -> Obstacle | None:
    """Why a node would fail or give wrong results although there is a kernel; None when nothing is known
    against it.
    """
    check, kind = _RESTRICTIONS.get(node.op.qualified_name, (None, ""))
    reason = check(node, opset) if check is not None else None
    return None if reason is None else Obstacle(kind, reason)


def _modulo(node: Node, opset: int) -> str | None:
    """Floating-point remainders need fmod=1, or opset 28."""
    value = node.inputs[0]
    floating = value is not None and value.dtype is not None and value.dtype.is_float
    if isinstance(node.op, Mod) and floating and not node.op.fmod and opset < FLOAT_MODULO_SINCE:
        return f"its kernel takes floating-point numbers with fmod=0 only from opset {FLOAT_MODULO_SINCE} on"
    return None


def _attention(node: Node, opset: int) -> str | None:
    """No mask shorter than the keys; scores of causal attention are given without a mask only."""
    op, mask, key = node.op, node.operand(3), node.operand(1)
    if not isinstance(op, Attention):
        return None
    if len(node.outputs) > 3 and node.outputs[3].uses and mask is not None and op.is_causal:
        return "its kernel writes the lowest number for minus infinity into the scores of a causal attention with a mask"
    past = node.operand(4)
    if mask is None or key is None or not mask.shape or not key.shape or len(key.shape) < 3:
        return None
    total = key.shape[-2] + (past.shape[-2] if past is not None and past.shape else 0)
    if isinstance(total, int) and isinstance(mask.shape[-1], int) and mask.shape[-1] < total:
        return f"its kernel needs a mask for all {total} keys, not for {mask.shape[-1]}"
    return None


def _reduce_max(node: Node, opset: int) -> str | None:
    """Sets of bools are not empty."""
    value = node.inputs[0]
    if value is not None and value.dtype is DType.BOOL and value.shape is not None and 0 in value.shape:
        return "its kernel does not reduce empty sets of bools"
    return None


def _max_unpool(node: Node, opset: int) -> str | None:
    """Without an output shape."""
    if isinstance(node.op, MaxUnpool) and node.operand(2) is not None:
        return "its kernel misreads the indices when an output shape is given"
    return None


def _integer_convolution(node: Node, opset: int) -> str | None:
    """One zero point for all weights."""
    zero = node.operand(3)
    if isinstance(node.op, ConvInteger) and zero is not None and zero.rank == 1 and zero.shape != (1,):
        return "its kernel takes one zero point for all weights only"
    return None


def _resize(node: Node, opset: int) -> str | None:
    """With align_corners, sizes times scales are whole."""
    op, x, scales = node.op, node.inputs[0], node.operand(2)
    if not isinstance(op, Resize) or op.coordinate_transformation_mode != "align_corners" or op.mode == "nearest":
        return None
    if scales is None or scales.data is None or x is None or x.shape is None or op.axes is not None:
        return None
    for size, scale in zip(x.shape, scales.data.numpy().tolist(), strict=False):
        if isinstance(size, int) and abs(size * scale - round(size * scale)) > 1e-6:
            return f"its kernel aligns corners to the whole size, not to {size} * {scale:g} = {size * scale:g}"
    return None


_RESTRICTIONS: dict[str, tuple[Restriction, str]] = {
    "Mod": (_modulo, "dtype"),
    "Attention": (_attention, "attribute"),
    "ReduceMax": (_reduce_max, "zero-size"),
    "ReduceMin": (_reduce_max, "zero-size"),
    "MaxUnpool": (_max_unpool, "attribute"),
    "ConvInteger": (_integer_convolution, "attribute"),
    "Resize": (_resize, "attribute"),
}
"""By operator: what is known against it, and the reason code."""


def condition(name: str, opset: int) -> Condition | None:
    """The restriction on an operator (its qualified name) at an opset as a condition; None when there is none."""
    check, kind = _RESTRICTIONS.get(name, (None, ""))
    return None if check is None else Condition(kind, lambda node: check(node, opset), check.__doc__ or "")
