"""Transposed convolutions with channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastConvTranspose
from ....ir.ops.windows import per_axis
from ..emitter import Emitter, activation
from ..registry import emits, first_of
from ..schema import enumerator
from .filters import Target, split_axis, split_last, static_weight, vector_parts
from .geometry import as_image, cropped
from .shapes import gathered, joined
from .spread import Spread, known_spread, overlapping, spread_at

DENSE_ELEMENTS = 1 << 20
"""Up to so many elements the filters of groups are written as one dense filter with zeros between groups."""


def spread_filters(node: Node, found: Spread, array: Any) -> Any:
    """Constant filters ``[channels, filters / group, *kernel]`` with the zeros of dilation and output padding."""
    op = node.op
    assert isinstance(op, ChannelsLastConvTranspose)
    dilations = per_axis(op.dilations, array.ndim - 2, "dilations")
    wide = np.zeros((*array.shape[:2], *found.kernel), array.dtype)
    places = tuple(slice(0, (n - 1) * d + 1, d) for n, d in zip(array.shape[2:], dilations, strict=True))
    wide[(slice(None), slice(None), *places)] = array
    return wide


def computed_filters(e: Emitter, node: Node, found: Spread) -> int:
    """Likewise for filters that are computed at run time."""
    op, weight = node.op, node.inputs[1]
    assert isinstance(op, ChannelsLastConvTranspose) and weight is not None
    x, shape = e.operand(weight), list(weight.tensor.static_shape or ())
    for axis, dilation in enumerate(per_axis(op.dilations, len(found.kernel), "dilations"), 2):
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        x = zeros_behind(e, e.reshaped(x, [before * shape[axis], 1, after]), dilation - 1)
        x = e.reshaped(x, [before, shape[axis] * dilation, after])
        x = zeros_behind(e, x, found.kernel[axis - 2] - shape[axis] * dilation)
        shape[axis] = found.kernel[axis - 2]
    return e.reshaped(x, shape)


def zeros_behind(e: Emitter, x: int, count: int) -> int:
    """Zeros appended to the middle axis of three, or elements taken from its end when ``count`` is negative."""
    if not count:
        return x
    first, size, last = (n or 0 for n in e.shape(x))
    y = e.temporary([first, size + count, last], e.dtype(x))
    if count > 0:
        e.op("PAD", [x, e.constant(np.array([[0, 0], [0, count], [0, 0]], np.int32))], [y])
    else:
        e.op("SLICE", [x, e.ints([0, 0, 0]), e.ints([first, size + count, last])], [y])
    return y


def dense(array: Any, groups: int) -> Any:
    """Filters of groups as one filter ``[channels, filters, *kernel]`` with zeros between the groups."""
    channels, filters = array.shape[:2]
    result = np.zeros((channels, filters * groups, *array.shape[2:]), array.dtype)
    size = channels // groups
    for g in range(groups):
        result[g * size : (g + 1) * size, g * filters : (g + 1) * filters] = array[g * size : (g + 1) * size]
    return result


@emits(ChannelsLastConvTranspose, when=first_of(static_weight, known_spread, overlapping), level="decomposed")
def transposed_convolution(e: Emitter, node: Node) -> None:
    """TRANSPOSE_CONV or CONV_3D_TRANSPOSE of the whole result, then the crop, unless SAME crops alike."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ChannelsLastConvTranspose) and x is not None
    found = spread_at(node)
    assert isinstance(found, Spread)
    weight, source, groups = node.inputs[1], e.operand(x), op.group
    assert weight is not None and weight.tensor.static_shape is not None
    channels, filters = weight.tensor.static_shape[:2]
    if len(found.kernel) == 1:
        source = as_image(e, source)
        line, found = found, Spread((1, *found.kernel), (1, *found.strides), found.same, (0, *found.begins), (0, *found.ends))
    else:
        line = found
    write = _Volume(e, found) if len(found.kernel) == 3 else Plane(e, found)
    count = filters * groups
    if weight.data is not None:
        array = spread_filters(node, line, weight.data.numpy()).reshape(channels, filters, *found.kernel)
        if groups > 1 and array.size * groups <= DENSE_ELEMENTS:
            array, groups = dense(array, groups), 1
        kernels = [e.constant(np.ascontiguousarray(part.transpose(write.order))) for part in np.split(array, groups)]
    else:
        wide = e.reshaped(computed_filters(e, node, line), [channels, filters, *found.kernel])
        kernels = [e.transposed(part, write.order) for part in split_axis(e, wide, 0, groups)]
    whole = write.sizes(e.shape(source)[1:-1])
    final = [n if n is None else n - b - a for n, b, a in zip(whole, *write.crop, strict=True)]
    target = Target(e, e.activated(node), final, count)
    is_cropped = any(write.crop[0]) or any(write.crop[1])
    parts = []
    sources = split_last(e, source, groups)
    biases = vector_parts(e, node.operand(2), count, groups)
    for part, kernel, bias in zip(sources, kernels, biases, strict=True):
        direct = groups == 1 and not is_cropped
        y = target.tensor if direct else e.temporary([e.shape(source)[0], *whole, count // groups], e.dtype(source))
        write.write(part, kernel, bias, y, target.activation)
        parts.append(y)
    if groups > 1:
        joined = e.temporary([*e.shape(parts[0])[:-1], count], e.dtype(source)) if is_cropped else target.tensor
        e.op("CONCATENATION", parts, [joined], axis=len(found.kernel) + 1, fusedActivationFunction=activation("NONE"))
        parts = [joined]
    if is_cropped:
        cropped(e, parts[0], *write.crop, into=target.tensor)
    target.finish()


class Plane:
    """TRANSPOSE_CONV of images.

    Class attributes:
        order: the axes of ``[channels, filters, *kernel]`` as the kernel takes them.
    """

    order: ClassVar[tuple[int, ...]] = (1, 2, 3, 0)

    def __init__(self, e: Emitter, found: Spread) -> None:
        self.emitter, self.found = e, found
        zeros = (0,) * len(found.kernel)
        self.crop: tuple[Sequence[int], Sequence[int]] = (zeros, zeros) if found.same else (found.begins, found.ends)

    def sizes(self, spatial: Sequence[int | None]) -> list[int | None]:
        """The sizes that the kernel gives."""
        reach = self.found.strides if self.found.same else self.found.kernel
        return [None if n is None else (n - 1) * s + k for n, s, k in zip(spatial, self.found.strides, reach, strict=True)]

    def shape_vector(self, x: int, y: int) -> int:
        """The result's shape as an operand, computed when it is not known."""
        e = self.emitter
        shape = e.shape(y)
        if None not in shape:
            return e.ints([n for n in shape if n is not None])
        reach = self.found.strides if self.found.same else self.found.kernel
        whole = e.shape_of(x)
        spatial = e.binary("MUL", gathered(e, whole, range(1, len(shape) - 1)), e.ints(self.found.strides))
        offsets = [k - s for k, s in zip(reach, self.found.strides, strict=True)]
        if any(offsets):  # an operator whose result LiteRT does not know before the run
            spatial = e.binary("ADD", spatial, e.ints(offsets))
        return joined(e, [gathered(e, whole, [0]), spatial, e.ints([shape[-1] or 0])], 0)

    def write(self, x: int, filters: int, bias: int, y: int, code: int) -> None:
        """Append the operator."""
        self.emitter.op(
            "TRANSPOSE_CONV",
            [self.shape_vector(x, y), filters, x, bias],
            [y],
            4 if code else 3,
            padding=enumerator("Padding", "SAME" if self.found.same else "VALID"),
            strideH=self.found.strides[0],
            strideW=self.found.strides[1],
            fusedActivationFunction=code,
        )


class _Volume(Plane):
    """CONV_3D_TRANSPOSE."""

    order: ClassVar[tuple[int, ...]] = (2, 3, 4, 1, 0)

    def write(self, x: int, filters: int, bias: int, y: int, code: int) -> None:
        self.emitter.op(
            "CONV_3D_TRANSPOSE",
            [self.shape_vector(x, y), filters, x, bias],
            [y],
            padding=enumerator("Padding", "SAME" if self.found.same else "VALID"),
            **{f"stride{axis}": n for axis, n in zip("DHW", self.found.strides, strict=True)},
            **{f"dilation{axis}Factor": 1 for axis in "DHW"},
            fusedActivationFunction=code,
        )
