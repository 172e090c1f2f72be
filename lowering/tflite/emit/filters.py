"""What convolutions have in common: filters and biases as kernels want them, windows, and results of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.graph import Node, Value
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import no
from .geometry import Window, as_line_into, window_of


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
