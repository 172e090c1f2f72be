"""Convolutions, products and means in integers: int8 weights without zero points, biases in units of both scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.channels_last import ChannelsLastAveragePool, ChannelsLastConv, ChannelsLastConvTranspose
from ....ir.ops.matmul import Gemm, MatMul
from ..emitter import activation
from ..quantized import Grid, Plan, Stored, in_integers
from ..quantized_emitter import QuantizedEmitter
from ..writer import Quantization
from .filters import Target, window_at
from .geometry import Window, as_image, cropped, output_sizes, padded, window_options
from .pooling import pool_options, pool_window, write
from .products import GREATEST_INPUT_RANK, GREATEST_RANK
from .quantized import COARSER, real_form
from .transposed_convolution import Plane, Spread, spread_at, spread_filters

WEIGHTS = frozenset((DType.INT8, DType.UINT8, DType.INT4))
SAME_SCALE = 1e-5
"""Scales that differ less are the product of two others as float32 rounds it."""
COARSEST_BIAS = 0.05
"""A bias may be rounded by this share of a step of the result."""
NOTHING = 1e-4
"""Roundings of a bias below this share of a step are those of float32 itself."""
MOST_TERMS = 1 << 16
"""Sums of so many products of bytes stay within int32."""


# -- weights and biases --------------------------------------------------------------------------------------------------------
def weights_of(node: Node, plan: Plan, channel_axis: int, terms: int) -> Stored | str:
    """The constant weights of a node, or why its kernel cannot take them.

    Args:
        channel_axis: the only axis along which scales may vary.
        terms: how many products one sum has.
    """
    weight = node.inputs[1]
    assert weight is not None
    stored = plan.stored.get(weight)
    if stored is None:
        return "its weights are not quantised constants"
    if stored.dtype not in WEIGHTS:
        return f"its weights have elements of type {stored.dtype}"
    if not stored.is_symmetric:
        return "its weights have zero points or blocks; the kernels take symmetric ones"
    if stored.scale.size > 1 and stored.axis != channel_axis:
        return f"the scales of its weights vary along axis {stored.axis}; the kernels want one for each channel of the result"
    if terms > MOST_TERMS:
        return f"sums of {terms} products may pass int32"
    if not (np.isfinite(stored.scale).all() and (stored.scale > 0).all()):
        return "the scales of its weights are not positive"
    return stored


def integer_bias(bias: Value | None, plan: Plan, scales: Any, step: float, factor: float = 1.0) -> tuple[Any, str] | str:
    """A bias in units of ``scales`` with what is rounded in words, or why it cannot be had.

    Args:
        scales: one for each channel of the result, in float64.
        step: the result's scale.
        factor: what the bias is multiplied by.
    """
    if bias is None:
        return np.zeros(len(scales), np.int64), ""
    stored = plan.stored.get(bias)
    if stored is not None and stored.dtype is DType.INT32 and not stored.zero_point.any() and factor == 1:
        if np.allclose(stored.scale.reshape(-1).astype(np.float64), scales, rtol=SAME_SCALE, atol=0):
            return np.broadcast_to(stored.values.reshape(-1), (len(scales),)).astype(np.int64), ""
    if stored is None and bias.data is None:
        return "its bias is computed at run time"
    array = stored.real() if stored is not None else bias.data.numpy()  # type: ignore[union-attr]
    real = np.broadcast_to(array.reshape(-1).astype(np.float64) * factor, (len(scales),))
    units = np.rint(real / scales)
    if not np.isfinite(units).all() or (np.abs(units) >= 1 << 30).any():
        return "its bias is too large in units of both scales"
    off = float(np.abs(units * scales - real).max(initial=0.0)) / step
    if off > COARSEST_BIAS:
        return f"its bias would be rounded by {off:.3g} steps of the result"
    return units.astype(
        np.int64
    ), f"the bias is rounded to units of both scales, by up to {off:.2g} steps of the result" if off > NOTHING else ""


def bias_tensor(e: QuantizedEmitter, units: Any, scales: Any, dtype: DType, name: str) -> int:
    """A bias as the kernels take it: int32, for int16 operands int64."""
    wide = units.astype(np.int64 if dtype is DType.INT16 else np.int32)
    parameters = Quantization(tuple(float(s) for s in np.asarray(scales, np.float32)), (0,) * len(scales))
    return e.constant(wide, name, parameters)


def _prepared(node: Node, plan: Plan, channel_axis: int, count: int, terms: int, factor: float = 1.0) -> Any:
    """Weights, the scale of each channel of the weights, and the bias of a node that is quantised all around; or why not."""
    x, y = plan.grid(node.inputs[0]), plan.grids.get(node.output)
    if x is None or y is None:
        return "its result is not quantised"
    stored = weights_of(node, plan, channel_axis, terms)
    if isinstance(stored, str):
        return stored
    scales = np.asarray(stored.scales(count), np.float64) * factor
    bias = integer_bias(node.operand(2), plan, scales * x.scale, y.scale)
    if isinstance(bias, str):
        return bias
    if bias[1]:
        plan.roundings[node] = bias[1]
    return stored, scales, bias[0]


# -- convolutions --------------------------------------------------------------------------------------------------------------
def _shapes(node: Node) -> tuple[int, ...]:
    weight = node.inputs[1]
    assert weight is not None and weight.tensor.static_shape is not None
    return weight.tensor.static_shape


def _convolution_parts(node: Node, plan: Plan) -> Any:
    shape = _shapes(node)
    return _prepared(node, plan, 0, shape[0], int(np.prod(shape[1:])))


def _convolution(node: Node, plan: Plan) -> str | None:
    found = real_form(node, plan)
    if found:
        return found
    op, shape = node.op, _shapes(node)
    assert isinstance(op, ChannelsLastConv) and node.inputs[0] is not None
    if len(shape) not in (3, 4):
        return "there is no integer kernel for volumes"
    channels = node.inputs[0].tensor.shape[-1]  # type: ignore[index]
    grid = plan.grid(node.inputs[0])
    if grid is not None and grid.dtype is DType.INT16 and op.group not in (1, channels):
        return "there is no int16 kernel for filters of groups"
    parts = _convolution_parts(node, plan)
    return parts if isinstance(parts, str) else None


@in_integers(ChannelsLastConv, when=_convolution)
def convolution(e: QuantizedEmitter, node: Node) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D with a scale for each filter."""
    op, x, weight = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, ChannelsLastConv) and x is not None and weight is not None and x.shape is not None
    stored, scales, units = _convolution_parts(node, e.plan)
    window = window_at(node)
    assert isinstance(window, Window)
    shape, channels = _shapes(node), x.shape[-1]
    source, grid = e.operand(x), e.plan.grid(x)
    assert grid is not None
    if len(shape) == 3:
        window, source = window.in_two_dimensions(), as_image(e, source)
    target = Target(e, e.activated(node), output_sizes(window, e.shape(source)[1:-1]), shape[0])
    source = padded(e, source, window.begins, window.ends, for_convolution=True)
    depthwise = op.group == channels and op.group > 1
    array = stored.signed().reshape(shape if len(shape) == 4 else (*shape[:2], 1, shape[2]))
    array = array.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    filters = e.filters(stored, array, scales, 3 if depthwise else 0, weight.name)
    bias = bias_tensor(e, units, scales * grid.scale, grid.dtype, f"{node.output.name}/bias")
    options: dict[str, Any] = {"depthMultiplier": shape[0] // op.group} if depthwise else {}
    e.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [source, filters, bias],
        [target.tensor],
        _convolution_version(grid, stored, depthwise, op.group),
        **window_options(window),
        **options,
        fusedActivationFunction=target.activation,
    )
    target.finish()


def _convolution_version(grid: Grid, stored: Stored, depthwise: bool, groups: int) -> int:
    if stored.dtype is DType.INT4:
        return 7
    if depthwise:
        return 5 if grid.dtype is DType.INT16 else 3
    return 6 if groups > 1 else 4 if grid.dtype is DType.INT16 else 3


def _transposed_parts(node: Node, plan: Plan) -> Any:
    shape = _shapes(node)
    return _prepared(node, plan, 1, shape[1], int(shape[0] * np.prod(shape[2:])))


def _transposed_convolution(node: Node, plan: Plan) -> str | None:
    found = real_form(node, plan)
    if found:
        return found
    assert isinstance(node.op, ChannelsLastConvTranspose)
    if node.op.group != 1 or len(_shapes(node)) not in (3, 4):
        return "there is no integer kernel for groups or volumes"
    parts = _transposed_parts(node, plan)
    if isinstance(parts, str):
        return parts
    return "there is no kernel for weights of four bits" if parts[0].dtype is DType.INT4 else None


@in_integers(ChannelsLastConvTranspose, when=_transposed_convolution)
def transposed_convolution(e: QuantizedEmitter, node: Node) -> None:
    """TRANSPOSE_CONV of the whole result, then the crop."""
    x, weight = node.inputs[0], node.inputs[1]
    assert x is not None and weight is not None
    stored, scales, units = _transposed_parts(node, e.plan)
    found, grid = spread_at(node), e.plan.grid(x)
    assert isinstance(found, Spread) and grid is not None
    source = e.operand(x)
    array = spread_filters(node, found, stored.signed())
    if len(found.kernel) == 1:
        source = as_image(e, source)
        array = array[:, :, None]
        found = Spread((1, *found.kernel), (1, *found.strides), found.same, (0, *found.begins), (0, *found.ends))
    write_plane = Plane(e, found)
    filters = e.filters(stored, array.transpose(write_plane.order), scales, 0, weight.name)
    bias = bias_tensor(e, units, scales * grid.scale, grid.dtype, f"{node.output.name}/bias")
    whole = write_plane.sizes(e.shape(source)[1:-1])
    final = [n if n is None else n - b - a for n, b, a in zip(whole, *write_plane.crop, strict=True)]
    target = Target(e, (e.result(node.output), activation("NONE")), final, len(scales))
    is_cropped = any(write_plane.crop[0]) or any(write_plane.crop[1])
    y = e.like(target.tensor, [e.shape(source)[0], *whole, len(scales)]) if is_cropped else target.tensor
    write_plane.write(source, filters, bias, y, target.activation)
    if is_cropped:
        cropped(e, y, *write_plane.crop, into=target.tensor)
    target.finish()


# -- products ------------------------------------------------------------------------------------------------------------------
def _gemm_parts(node: Node, plan: Plan) -> Any:
    op, shape = node.op, _shapes(node)
    assert isinstance(op, Gemm)
    out = 0 if op.transB else 1
    bias = node.operand(2)
    if bias is not None and any(d != 1 for d in (bias.shape or ())[:-1]):
        return "the added matrix differs from row to row"
    if op.alpha <= 0 or op.beta != 1 and bias is not None:
        return "it scales its operands"
    return _prepared(node, plan, out, shape[out], shape[1 - out], op.alpha)


def _gemm(node: Node, plan: Plan) -> str | None:
    found = _gemm_parts(node, plan)
    return found if isinstance(found, str) else None


@in_integers(Gemm, when=_gemm)
def gemm(e: QuantizedEmitter, node: Node) -> None:
    """FULLY_CONNECTED."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Gemm)
    stored, scales, units = _gemm_parts(node, e.plan)
    source = e.operand(x)
    if op.transA:
        source = e.like(source, e.shape(source)[::-1])
        e.op("TRANSPOSE", [e.operand(x), e.ints([1, 0])], [source])
    array = stored.signed() if op.transB else stored.signed().T
    connect(e, node, source, (stored, array, scales, units), e.activated(node), False)


def connect(e: QuantizedEmitter, node: Node, x: int, parts: tuple[Stored, Any, Any, Any], result: tuple[int, int], keep: bool) -> None:
    """FULLY_CONNECTED of integers with weights ``[out, in]``; one scale for all when they are equal."""
    stored, array, scales, units = parts
    grid = e.plan.grid(node.inputs[0])
    assert grid is not None
    kept = scales[:1] if (scales == scales[0]).all() else scales
    filters = e.filters(stored, array, kept, 0, node.inputs[1].name)  # type: ignore[union-attr]
    bias = bias_tensor(e, units, kept * grid.scale, grid.dtype, f"{node.output.name}/bias")
    version = 10 if stored.dtype is DType.INT4 else 7 if grid.dtype is DType.INT16 else 5
    version = max(version, 12) if len(kept) > 1 else version
    e.op("FULLY_CONNECTED", [x, filters, bias], [result[0]], version, fusedActivationFunction=result[1], keepNumDims=keep)


def _linear_parts(node: Node, plan: Plan) -> Any:
    shape = _shapes(node)
    return _prepared(node, plan, 1, shape[1], shape[0])


def _product(node: Node, plan: Plan) -> str | None:
    a, b = node.inputs
    assert a is not None and b is not None and a.rank is not None and b.rank is not None
    if b in plan.stored:
        if b.rank != 2 or not 2 <= a.rank <= GREATEST_INPUT_RANK:
            return "its weights are no matrix"
        parts = _linear_parts(node, plan)
        return parts if isinstance(parts, str) else None
    left, right = plan.grid(a), plan.grid(b)
    if left is None or right is None or b.data is not None:
        return "an operand is not quantised per tensor by constants"
    if a in plan.stored and left.zero_point or left.dtype is not right.dtype:
        return "its operands do not fit together"
    if min(a.rank, b.rank) < 2 or max(a.rank, b.rank) > GREATEST_RANK:
        return "the kernel takes two to five dimensions"
    return real_form(node, plan)


@in_integers(MatMul, when=_product)
def product(e: QuantizedEmitter, node: Node) -> None:
    """FULLY_CONNECTED with constant weights, else BATCH_MATMUL."""
    a, b = node.inputs
    assert a is not None and b is not None
    if b in e.plan.stored:
        stored, scales, units = _linear_parts(node, e.plan)
        connect(e, node, e.operand(a), (stored, stored.signed().T, scales, units), e.activated(node), a.rank != 2)
        return
    x, y = e.operand(a), e.operand(b)
    e.op("BATCH_MATMUL", [x, y], [e.result(node.output)], 3 if e.dtype(x) is DType.INT16 else 2, adjX=False, adjY=False)


# -- means ---------------------------------------------------------------------------------------------------------------------
def _mean_fits(node: Node, plan: Plan) -> str | None:
    found = real_form(node, plan)
    window = pool_window(node)
    if found or not isinstance(window, Window):
        return found or str(window)
    if max(window.dilations) > 1 or len(window.kernel) > 2:
        return "there is no integer kernel for dilated windows or volumes"
    if any(window.begins) or any(window.ends):
        op = node.op
        assert isinstance(op, ChannelsLastAveragePool)
        if not op.count_include_pad or op.ceil_mode:
            return "windows at the edges count fewer elements"
    x, y = plan.grid(node.inputs[0]), plan.grids.get(node.output)
    if x is not None and y is not None and x.scale > COARSER * y.scale:
        return f"the kernel's results have steps of {x.scale:g}, coarser than the model's {y.scale:g}"
    return None


@in_integers(ChannelsLastAveragePool, when=_mean_fits, grid="operand", moves=lambda node: False)
def average_pool(e: QuantizedEmitter, node: Node) -> None:
    """AVERAGE_POOL_2D after a Pad."""

    def pool(x: int, window: Window, y: int, code: int) -> None:
        e.op("AVERAGE_POOL_2D", [padded(e, x, window.begins, window.ends)], [y], 2, **pool_options(window), fusedActivationFunction=code)

    write(e, node, e.operand(node.inputs[0]), pool)
