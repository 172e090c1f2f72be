"""Quantised attention, recurrence, convolution and pooling of the com.microsoft domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnostics import E_EVALUATE, Diagnostic
from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .common import dtype_error, format_shape, shape_error
from .microsoft_attention import projected_present, self_attention
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, require_vector, unresolved
from .pooling import MaxPool
from .quantized_products import QLinearConv
from .recurrent import LSTM

_BYTES = frozenset((DType.INT8, DType.UINT8))


@dataclass(frozen=True)
class QAttention(Op):
    """Self-attention whose input projection is a product of 8-bit integers; results output and present."""

    num_heads: int
    do_rotary: int = 0
    mask_filter_value: float | None = None
    past_present_share_buffer: int = 0
    scale: float | None = None
    unidirectional: int = 0
    domain = MICROSOFT

    def infer(
        self,
        input: TensorType,
        weight: TensorType,
        bias: TensorType,
        input_scale: TensorType,
        weight_scale: TensorType,
        mask_index: TensorType | None = None,
        input_zero_point: TensorType | None = None,
        weight_zero_point: TensorType | None = None,
        past: TensorType | None = None,
    ) -> Any:
        if type(bias) is not TensorType:
            return unresolved(bias, "bias")
        for name, operand in (("input", input), ("weight", weight)):
            if type(operand) is TensorType and operand.dtype not in _BYTES:
                raise dtype_error(f"{name} must be i8 or u8, not {operand.dtype}")
        dtype = float_dtype(bias, input_scale, weight_scale, past)
        shape, matrix = require_rank(input, 3, "input"), require_rank(weight, 2, "weight")
        if shape is not None and matrix is not None:
            require_equal(shape[2], matrix[0], "the hidden size of input and the rows of weight")
        columns = matrix[1] if matrix is not None else None
        require_vector(bias, columns, "the bias")
        hidden = divided(columns, 3, "the number of columns of weight")
        batch, tokens = (shape[0], shape[1]) if shape is not None else (None, None)
        present = projected_present(self, past, batch, tokens, hidden)
        return TensorType(dtype, (batch, tokens, hidden)), TensorType(dtype, present)  # type: ignore[arg-type]

    def evaluate(
        self,
        input: Array,
        weight: Array,
        bias: Array,
        input_scale: Array,
        weight_scale: Array,
        mask_index: Array | None = None,
        input_zero_point: Array | None = None,
        weight_zero_point: Array | None = None,
        past: Array | None = None,
    ) -> tuple[Array, ...]:
        if self.do_rotary or self.past_present_share_buffer:
            raise Diagnostic(E_EVALUATE, "QAttention with do_rotary or a shared buffer is not evaluated")
        left = input.astype(np.float64) - (0 if input_zero_point is None else input_zero_point.astype(np.float64))
        right = weight.astype(np.float64) - (0 if weight_zero_point is None else weight_zero_point.astype(np.float64))
        factor = widened(input_scale).reshape(-1)[0] * widened(weight_scale)
        projected = ((left @ right).astype(np.float32) * factor + widened(bias)).astype(np.float32)
        width = weight.shape[1] // 3
        results = self_attention(self, projected, (width, width, width), mask_index, past, None)
        return tuple(rounded(a, bias.dtype) for a in results)


@dataclass(frozen=True)
class DynamicQuantizeLSTM(Op):
    """LSTM with 8-bit weights ``[directions, input, 4 * hidden]`` and dynamically quantised activations."""

    activation_alpha: tuple[float, ...] | None = None
    activation_beta: tuple[float, ...] | None = None
    activations: tuple[str, ...] | None = None
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    input_forget: int = 0
    domain = MICROSOFT
    outputs = 3

    def infer(
        self,
        x: TensorType,
        w: TensorType,
        r: TensorType,
        b: TensorType | None = None,
        sequence_lens: TensorType | None = None,
        initial_h: TensorType | None = None,
        initial_c: TensorType | None = None,
        p: TensorType | None = None,
        w_scale: TensorType | None = None,
        w_zero_point: TensorType | None = None,
        r_scale: TensorType | None = None,
        r_zero_point: TensorType | None = None,
    ) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        for name, operand in (("W", w), ("R", r)):
            if type(operand) is TensorType and operand.dtype not in _BYTES:
                raise dtype_error(f"{name} must be i8 or u8, not {operand.dtype}")
        if any(o is None for o in (w_scale, w_zero_point, r_scale, r_zero_point)):
            raise shape_error("both weights need a scale and a zero point")
        weight, recurrence = require_rank(w, 3, "W"), require_rank(r, 3, "R")
        return self._float().infer(
            x,
            TensorType(x.dtype, None if weight is None else (weight[0], weight[2], weight[1])),
            TensorType(x.dtype, None if recurrence is None else (recurrence[0], recurrence[2], recurrence[1])),
            b,
            sequence_lens,
            initial_h,
            initial_c,
            p,
        )

    def _float(self) -> LSTM:
        return LSTM(**dict(self.attributes()))

    def evaluate(self, x: Array, w: Array, r: Array, *rest: Array | None) -> tuple[Array, ...]:
        b, lengths, h, c, p, w_scale, w_zero, r_scale, r_zero = rest
        if w_scale is None or w_zero is None or r_scale is None or r_zero is None:
            raise Diagnostic(E_EVALUATE, "DynamicQuantizeLSTM needs the scales and zero points of both weights")
        weights = [dequantized_recurrent(*t) for t in ((w, w_scale, w_zero), (r, r_scale, r_zero))]
        return self._float().evaluate(x, weights[0], weights[1], b, lengths, h, c, p)


def dequantized_recurrent(weight: Array, scale: Array, zero_point: Array) -> Array:
    """``[directions, rows, gates]`` weights as float32 ``[directions, gates, rows]``."""
    form = (weight.shape[0], 1, -1)
    values = (weight.astype(np.float32) - zero_point.astype(np.float32).reshape(form)) * scale.reshape(form)
    return values.swapaxes(1, 2)


def _channels_first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


def _channels_last(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _first(type_: Any) -> Any:
    """The type of a channels-last tensor as channels first."""
    if type(type_) is not TensorType or type_.shape is None:
        return type_
    shape = type_.shape
    if len(shape) < 3:
        raise shape_error(f"batch, spatial dimensions and channels are needed, not {format_shape(shape)}")
    return TensorType(type_.dtype, (shape[0], shape[-1], *shape[1:-1]))


def _last(type_: Any) -> Any:
    if type(type_) is not TensorType or type_.shape is None:
        return type_
    return TensorType(type_.dtype, (type_.shape[0], *type_.shape[2:], type_.shape[1]))


@dataclass(frozen=True)
class NhwcMaxPool(Op):
    """Maximum pooling of 8-bit images whose channels come last."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    domain = MICROSOFT

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "x")
        if x.dtype not in _BYTES:
            raise dtype_error(f"NhwcMaxPool does not take {x.dtype}")
        return _last(self._first().infer(_first(x))[0])

    def _first(self) -> MaxPool:
        return MaxPool(**dict(self.attributes()))

    def evaluate(self, x: Array) -> Array:
        return _channels_last(self._first().evaluate(_channels_first(x))[0])


@dataclass(frozen=True)
class MsQLinearConv(Op):
    """Convolution of 8-bit tensors, with the channels last where the attribute says so."""

    auto_pad: str = "NOTSET"
    channels_last: int = 0
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    domain = MICROSOFT
    op_name = "QLinearConv"

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType,
        w: TensorType,
        w_scale: TensorType,
        w_zero_point: TensorType,
        y_scale: TensorType,
        y_zero_point: TensorType,
        b: TensorType | None = None,
    ) -> Any:
        rest = (x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, b)
        if not self.channels_last:
            return self._first().infer(x, *rest)
        return _last(self._first().infer(_first(x), *rest))

    def _first(self) -> QLinearConv:
        return QLinearConv(**{k: v for k, v in self.attributes() if k != "channels_last"})

    def evaluate(self, x: Array, *rest: Array) -> Array:
        if not self.channels_last:
            return self._first().evaluate(x, *rest)
        return _channels_last(self._first().evaluate(_channels_first(x), *rest))
