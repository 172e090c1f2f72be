"""Quantised values: MIL's own operators since iOS17, arithmetic before; quantised constants stay compressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ..carriers import NUMPY
from ..versions import Release
from .cast import bounds
from .context import Emission
from .translation import FLOATS, NARROW, Obstacle, every, translates

_BYTES = (DType.INT8, DType.UINT8)


def _parameters(node: Node) -> Obstacle | None:
    scale, zero = node.inputs[1], node.operand(2)
    assert scale is not None
    if scale.data is None or zero is not None and zero.data is None:
        return Obstacle("dynamic-parameter", "MIL wants scale and zero point as constants")
    if getattr(node.op, "block_size", 0):
        return Obstacle("attribute", "MIL quantises activations per tensor or per axis")
    return None


def _bytes(node: Node) -> Obstacle | None:
    value = node.output if isinstance(node.op, QuantizeLinear) else node.inputs[0]
    assert value is not None
    if value.dtype not in _BYTES:
        return Obstacle("dtype", "MIL quantises to 8 bits")
    scale = node.inputs[1]
    assert scale is not None and scale.data is not None
    if scale.dtype not in FLOATS:
        return Obstacle("dtype", f"scales of type {scale.dtype}")
    if not np.all(np.isfinite(scale.data.numpy())):
        return Obstacle("not-finite", "a scale is not finite")
    return None


def _same_float(node: Node) -> Obstacle | None:
    x, scale = node.inputs[0], node.inputs[1]
    assert x is not None and scale is not None
    return None if x.dtype is scale.dtype else Obstacle("dtype", "operand and scale have different element types")


def _settings(node: Node, axis: int) -> dict[str, Any]:
    """Scale, zero point and axis as MIL wants them."""
    scale, zero = node.inputs[1], node.operand(2)
    assert scale is not None and scale.data is not None
    factors = scale.data.numpy()
    vector = factors.ndim == 1 and factors.size > 1
    settings: dict[str, Any] = {"scale": factors if vector else factors.reshape(())[()]}
    if zero is not None and zero.data is not None and np.any(zero.data.numpy()):
        offsets = zero.data.numpy()
        settings["zero_point"] = offsets if vector else offsets.reshape(())[()]
    if vector:
        settings["axis"] = axis % (node.inputs[0].rank or 1)  # type: ignore[union-attr]
    return settings


@translates(QuantizeLinear, when=every(_parameters, _bytes, _same_float), since=Release.IOS17)
def quantize(e: Emission, node: Node) -> None:
    """8-bit quantisation, per tensor or per axis."""
    op = node.op
    assert isinstance(op, QuantizeLinear)
    kind = "int8" if node.output.dtype is DType.INT8 else "uint8"
    e.bind(node, e.mil.quantize(input=e.operand(node), output_dtype=kind, **_settings(node, op.axis)))


def _constant(node: Node) -> Obstacle | None:
    x, zero = node.inputs[0], node.operand(2)
    if x is None or x.data is None or zero is not None and zero.data is None or node.inputs[1].data is None:  # type: ignore[union-attr]
        return Obstacle("dynamic-parameter", "the quantised value is computed at run time")
    return None


@translates(
    DequantizeLinear,
    dtypes=None,
    when=_constant,
    evidence="constexpr_affine_dequantize since iOS16, constexpr_blockwise_shift_scale since iOS18 (coremltools 9.0)",
)
def constant_dequantize(e: Emission, node: Node) -> None:
    """Quantised constants: compressed weights where the release has them, else floats computed here."""
    op, x = node.op, e.required(node)
    assert isinstance(op, DequantizeLinear) and x.data is not None and x.dtype is not None
    settings, data = _settings(node, op.axis), x.data.numpy()
    target = NUMPY["fp16" if node.output.dtype is DType.FLOAT16 else "fp32"]
    if op.block_size == 0 and x.dtype in _BYTES and e.release >= Release.IOS16 and data.ndim:
        zero = settings.get("zero_point", data.dtype.type(0))
        scale = np.asarray(settings["scale"], target)
        if scale.ndim and np.ndim(zero) == 0:
            zero = np.full(scale.shape, zero, data.dtype)
        axis = np.int32(settings.get("axis", 0))
        e.bind(node, e.mil.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale[()], axis=axis))
        return
    e.bind(node, e.const(_dequantized(node, target)))


def _dequantized(node: Node, target: Any) -> Any:
    operands = [v.data.numpy() for v in node.inputs if v is not None and v.data is not None]
    return np.asarray(node.op.evaluate(*operands)).astype(target)


@translates(DequantizeLinear, dtypes=frozenset(_BYTES), when=every(_parameters, _bytes), since=Release.IOS17)
def dequantize(e: Emission, node: Node) -> None:
    """8-bit values as floats; integers that were widened are narrowed first."""
    op, value = node.op, e.required(node)
    assert isinstance(op, DequantizeLinear)
    kind = "int8" if value.dtype is DType.INT8 else "uint8"
    e.bind(node, e.mil.dequantize(input=e.cast(e.var(value), kind), **_settings(node, op.axis)))


def _floats(node: Node) -> Obstacle | None:
    scale = node.inputs[1]
    assert scale is not None
    if scale.dtype not in FLOATS:
        return Obstacle("dtype", f"scales of type {scale.dtype}")
    if getattr(node.op, "block_size", 0):
        return Obstacle("attribute", "blocks of activations")
    op = node.op
    if isinstance(op, QuantizeLinear) and node.output.dtype not in NARROW:
        return Obstacle("dtype", f"quantisation to {node.output.dtype}")
    if isinstance(op, QuantizeLinear) and op.precision not in (None, 0, DType.FLOAT) and op.precision is not scale.dtype:
        return Obstacle("attribute", "a precision other than that of the operand")
    return None


def _along(e: Emission, var: Any, rank: int, axis: int) -> Any:
    """A vector in the place of an axis; scalars stay."""
    if len(var.shape) != 1 or var.shape[0] == 1 and rank == 0:
        return var
    if var.shape[0] == 1:
        return e.mil.squeeze(x=var)
    shape = [1] * rank
    shape[axis % rank] = -1
    return e.mil.reshape(x=var, shape=np.array(shape, np.int32)) if rank > 1 else var


@translates(QuantizeLinear, when=every(_same_float, _floats), level="decomposed")
def quantize_by_arithmetic(e: Emission, node: Node) -> None:
    """``clip(round(x / scale) + zero point)``, the result carried as int32."""
    op, x, dtype = node.op, e.operand(node), node.output.dtype
    assert isinstance(op, QuantizeLinear) and dtype is not None
    rank = len(x.shape)
    low, high = bounds(dtype)
    scaled = e.mil.round(x=e.mil.real_div(x=x, y=_along(e, e.operand(node, 1), rank, op.axis)))
    if node.operand(2) is not None:
        zero = e.cast(_along(e, e.operand(node, 2), rank, op.axis), e.kind(x))
        scaled = e.mil.add(x=scaled, y=zero)
    clipped = e.mil.clip(x=scaled, alpha=e.like(low, x), beta=e.like(high, x))
    e.bind(node, e.cast(clipped, "int32"))


@translates(DequantizeLinear, dtypes=NARROW | {DType.INT32}, when=_floats, level="decomposed")
def dequantize_by_arithmetic(e: Emission, node: Node) -> None:
    """``(x - zero point) * scale``, the difference in int32."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, DequantizeLinear)
    rank = len(x.shape)
    if node.operand(2) is not None:
        x = e.mil.sub(x=x, y=_along(e, e.operand(node, 2), rank, op.axis))
    scale = _along(e, e.operand(node, 1), rank, op.axis)
    e.bind(node, e.mil.mul(x=e.cast(x, e.kind(scale)), y=scale))
