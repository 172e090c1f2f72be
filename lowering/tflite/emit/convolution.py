"""Convolutions with channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.channels_last import ChannelsLastConv
from ..emitter import Emitter
from ..registry import emits, first_of
from .depthwise import depthwise_convolution
from .filters import Target, bias_of, filter_parts, known_window, plane_filters, split_last, static_weight, vector_parts, window_at
from .geometry import Window, as_image, output_sizes, padded, window_options
from .widening import widened_filters, widened_window, widening_of
from .winograd import Filters, winograd

GROUPS = "probe of LiteRT 2.3: grouped filters in CONV_2D against ONNX Runtime"


@emits(ChannelsLastConv, when=first_of(static_weight, known_window), evidence=GROUPS)
def convolution(e: Emitter, node: Node) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D, also of a line as an image of height 1; CONV_3D."""
    op, x, weight, bias = node.op, node.inputs[0], node.inputs[1], node.operand(2)
    assert isinstance(op, ChannelsLastConv) and x is not None and weight is not None and x.shape is not None
    window = window_at(node)
    assert isinstance(window, Window)
    shape = weight.tensor.static_shape
    assert shape is not None
    if len(shape) == 5:
        _volume(e, node, window, shape)
        return
    source = e.operand(x)
    if len(shape) == 3:
        window, source = window.in_two_dimensions(), as_image(e, source)
    target = Target(e, e.activated(node), output_sizes(window, e.shape(source)[1:-1]), shape[0])
    if op.group > 1 and op.group == x.shape[-1]:
        depthwise_convolution(e, source, (weight, bias), window, target)
    else:
        filters = _dense_filters(op, weight, bias) if e.shape(target.tensor).count(None) <= 1 else None
        if filters is None or not _in_another_form(e, source, filters, window, target):
            _plain(e, source, (weight, bias), window, target, 6 if op.group > 1 else 1)
    target.finish()


def _plain(e: Emitter, source: int, parameters: tuple[Value, Value | None], window: Window, target: Target, version: int) -> None:
    weight, bias = parameters
    source = padded(e, source, window.begins, window.ends, for_convolution=True)
    operands = [source, plane_filters(e, weight, (0, 2, 3, 1)), bias_of(e, bias, weight.tensor.static_shape[0])]  # type: ignore[index]
    e.op("CONV_2D", operands, [target.tensor], version, **window_options(window), fusedActivationFunction=target.activation)


def _in_another_form(e: Emitter, source: int, filters: Filters, window: Window, target: Target) -> bool:
    """Write a convolution by minimal filtering or with several positions at once, where that takes less time."""
    if winograd(e, source, filters, window, target.tensor, target.activation):
        return True
    spatial = [n if n is None else n + b + a for n, b, a in zip(e.shape(source)[1:-1], window.begins, window.ends, strict=True)]
    bare = replace(window, begins=(0, 0), ends=(0, 0))
    factor = widening_of(bare, tuple(spatial), len(filters.weight))
    if factor > 1:
        source = padded(e, source, window.begins, window.ends, for_convolution=True)
        _widened(e, source, filters, bare, factor, target)
    return factor > 1


def _dense_filters(op: ChannelsLastConv, weight: Value, bias: Value | None) -> Filters | None:
    """The filters when they and the bias are known and each sees all channels; those of a line have height 1."""
    if op.group != 1 or weight.data is None or weight.dtype is not DType.FLOAT or (bias is not None and bias.data is None):
        return None
    array = weight.data.numpy()
    offsets = np.zeros(len(array), np.float32) if bias is None or bias.data is None else bias.data.numpy()
    return Filters(array if array.ndim == 4 else array[:, :, None], offsets, weight.name)


def _widened(e: Emitter, source: int, filters: Filters, window: Window, factor: int, target: Target) -> None:
    """Several positions of a row as filters of one; their numbers lie in memory as the result has them."""
    wide = widened_filters(filters.weight, factor, window.strides[-1])
    batch, height, width, count = e.shape(target.tensor)
    assert width is not None and count is not None
    y = e.temporary([batch, height, width // factor, count * factor], e.dtype(target.tensor))
    kernel = e.constant(np.ascontiguousarray(wide.transpose(0, 2, 3, 1)), filters.name)
    operands = [source, kernel, e.constant(np.tile(filters.bias, factor))]
    e.op("CONV_2D", operands, [y], **window_options(widened_window(window, factor)), fusedActivationFunction=target.activation)
    e.reshape_into(y, target.tensor, e.shape(target.tensor))


def _volume(e: Emitter, node: Node, window: Window, shape: Sequence[int]) -> None:
    op, x, weight = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, ChannelsLastConv) and x is not None and weight is not None
    source = padded(e, e.operand(x), window.begins, window.ends, for_convolution=True)
    result, code = e.activated(node)
    options = {
        "padding": window.code,
        **{f"stride{axis}": n for axis, n in zip("DHW", window.strides, strict=True)},
        **{f"dilation{axis}Factor": n for axis, n in zip("DHW", window.dilations, strict=True)},
        "fusedActivationFunction": code,
    }
    kernels = filter_parts(e, weight, (2, 3, 4, 1, 0), op.group)
    biases = vector_parts(e, node.operand(2), shape[0], op.group)
    if op.group == 1:
        e.op("CONV_3D", [source, kernels[0], biases[0]], [result], **options)
        return
    results = []
    for part, kernel, offset in zip(split_last(e, source, op.group), kernels, biases, strict=True):
        y = e.temporary([*e.shape(result)[:-1], shape[0] // op.group], e.dtype(result))
        e.op("CONV_3D", [part, kernel, offset], [y], **options)
        results.append(y)
    e.op("CONCATENATION", results, [result], axis=len(shape) - 1, fusedActivationFunction=0)
