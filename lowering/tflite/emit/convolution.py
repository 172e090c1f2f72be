"""Convolutions with channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.channels_last import ChannelsLastConv
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, first_of, no
from .geometry import Window, as_image, as_line_into, output_sizes, padded, window_of, window_options
from .widening import widened_filters, widened_window, widening_of
from .winograd import Filters, winograd

GROUPS = "probe of LiteRT 2.3: grouped filters in CONV_2D against ONNX Runtime"


def static_weight(node: Node) -> Verdict | None:
    """The filters' shape has to be known, and one to three spatial dimensions."""
    x, weight = node.inputs[0], node.inputs[1]
    assert x is not None and weight is not None
    if x.rank not in (3, 4, 5):
        return no(f"an input of rank {x.rank} has not one to three spatial dimensions", "rank")
    if not weight.tensor.is_static or not isinstance(x.tensor.shape[-1], int):  # type: ignore[index]
        return no("the numbers of channels are known at run time only", "dynamic-shape")
    return None


def known_window(node: Node) -> Verdict | str | None:
    """Pads that follow from sizes need sizes."""
    found = window_at(node)
    return no(found, "dynamic-shape") if isinstance(found, str) else None


def window_at(node: Node) -> Window | str:
    """The window of a convolution node."""
    x, weight = node.inputs[0], node.inputs[1]
    assert x is not None and weight is not None and x.shape is not None
    return window_of(node.op, x.shape[1:-1], weight.tensor.static_shape[2:])  # type: ignore[index]


def bias_of(e: Emitter, bias: Value | None, count: int) -> int:
    """The bias, zeros when there is none."""
    return e.operand(bias) if bias is not None else e.constant(np.zeros(count, np.float32))


def plane_filters(e: Emitter, weight: Value, perm: Sequence[int]) -> int:
    """Filters of one or two spatial dimensions in the order of axes that a kernel of two wants: laid out now when constant."""
    shape = weight.tensor.static_shape
    assert shape is not None
    shape = shape if len(shape) == 4 else (*shape[:2], 1, shape[2])
    if weight.data is not None:
        return e.constant(np.ascontiguousarray(weight.data.numpy().reshape(shape).transpose(perm)), weight.name)
    return e.transposed(e.reshaped(e.operand(weight), shape), perm)


class Target:
    """Where a kernel of two spatial dimensions writes the result of a node of one or two.

    Attributes:
        tensor: the kernel's result.
        activation: the code of the fused activation.
    """

    def __init__(self, e: Emitter, activated: tuple[int, int], spatial: Sequence[Any], channels: int) -> None:
        self.emitter = e
        result, self.activation = activated
        self.line: int | None = None
        self.tensor = result
        if len(e.shape(result)) == 3:
            self.line = result
            self.tensor = e.like(result, [e.shape(result)[0], *spatial, channels])

    def finish(self) -> None:
        """Drop the height of a line."""
        if self.line is not None:
            as_line_into(self.emitter, self.tensor, self.line)


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
    count, channels = shape[0], x.shape[-1]
    source = e.operand(x)
    if len(shape) == 3:
        window, source = window.in_two_dimensions(), as_image(e, source)
    target = Target(e, e.activated(node), output_sizes(window, e.shape(source)[1:-1]), count)
    filters = _dense_filters(op, weight, bias) if e.shape(target.tensor).count(None) <= 1 else None
    if filters is not None and winograd(e, source, filters, window, target.tensor, target.activation):
        target.finish()
        return
    source = padded(e, source, window.begins, window.ends, for_convolution=True)
    window = replace(window, begins=(0, 0), ends=(0, 0))
    factor = widening_of(window, e.shape(source)[1:-1], count) if filters is not None else 1
    if filters is not None and factor > 1:
        _widened(e, source, filters, window, factor, target)
        target.finish()
        return
    depthwise = op.group == channels and op.group > 1
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    options: dict[str, Any] = {"depthMultiplier": count // op.group} if depthwise else {}
    version = (2 if max(window.dilations) > 1 else 1) if depthwise else 6 if op.group > 1 else 1
    e.op(
        name,
        [source, plane_filters(e, weight, order), bias_of(e, bias, count)],
        [target.tensor],
        version,
        **window_options(window),
        **options,
        fusedActivationFunction=target.activation,
    )
    target.finish()


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


def filter_parts(e: Emitter, weight: Value, perm: Sequence[int], groups: int) -> list[int]:
    """The filters of each group (slices of axis 0) in the order of axes that a kernel wants."""
    if weight.data is not None:
        parts = np.split(weight.data.numpy(), groups)
        return [e.constant(np.ascontiguousarray(part.transpose(perm))) for part in parts]
    return split_axis(e, e.transposed(e.operand(weight), perm), list(perm).index(0), groups)


def vector_parts(e: Emitter, bias: Value | None, count: int, groups: int) -> list[int]:
    """The bias of each group, zeros when there is none."""
    if bias is not None and bias.data is None:
        return split_last(e, e.operand(bias), groups)
    array = np.zeros(count, np.float32) if bias is None or bias.data is None else bias.data.numpy()
    return [e.constant(np.ascontiguousarray(part)) for part in np.split(array, groups)]


def split_last(e: Emitter, x: int, parts: int) -> list[int]:
    """The channels in equal parts."""
    return split_axis(e, x, len(e.shape(x)) - 1, parts)


def split_axis(e: Emitter, x: int, axis: int, parts: int) -> list[int]:
    """A tensor in equal parts along an axis; the tensor itself for one part."""
    if parts == 1:
        return [x]
    shape = e.shape(x)
    size = shape[axis]
    assert size is not None
    results = [e.temporary([*shape[:axis], size // parts, *shape[axis + 1 :]], e.dtype(x)) for _ in range(parts)]
    e.op("SPLIT", [e.constant(np.asarray(axis, np.int32)), x], results, numSplits=parts)
    return results
