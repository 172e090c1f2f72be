"""Pooling with channels last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip, Relu, Sigmoid
from ....ir.ops.channels_last import ChannelsLastAveragePool, ChannelsLastLpPool, ChannelsLastMaxPool
from ....ir.ops.windows import per_axis
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .filters import Target
from .geometry import Window, as_image, output_sizes, padded, product_of, window_of, window_options, window_with
from .shapes import gathered, joined

BYTES = frozenset((DType.INT8, DType.UINT8))
LOWEST = float(np.finfo(np.float32).min)
ImagePool = Callable[[int, Window, int, int], None]
"""Pools an image by a window into a tensor, with the code of an activation."""


# -- geometry ------------------------------------------------------------------------------------------------------------------
def pool_window(node: Node) -> Window | str:
    """The window of a pooling; what ceil_mode adds at the end is part of the end pads."""
    op: Any = node.op
    x, result = node.inputs[0], node.output.shape
    assert x is not None and x.shape is not None and result is not None
    spatial, kernel = x.shape[1:-1], tuple(op.kernel_shape)
    rank = len(kernel)
    if op.auto_pad != "NOTSET":
        found = window_of(op, spatial, kernel)
        if isinstance(found, str) or found.padding == "VALID" or not _explicit_only(op):
            return found
        return _explicit(found, spatial)
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    pads: list[int] = list(op.pads or (0,) * (2 * rank))
    for i in range(rank if op.ceil_mode else 0):
        extent, count = (kernel[i] - 1) * dilations[i] + 1, result[1 + i]
        if isinstance(spatial[i], int) and isinstance(count, int):
            pads[i + rank] = (count - 1) * strides[i] + extent - spatial[i] - pads[i]
        elif strides[i] > 1:
            if pads[i + rank] + strides[i] > extent:
                return "whether the last window starts inside the input depends on sizes that are known at run time only"
            pads[i + rank] += strides[i] - 1
    if _explicit_only(op):
        counted = (op.pads or (0,) * (2 * rank))[rank:]
        return Window(kernel, strides, dilations, "VALID", tuple(pads[:rank]), tuple(pads[rank:]), tuple(counted))
    return window_with(kernel, strides, dilations, tuple(pads), spatial)


def _explicit_only(op: Any) -> bool:
    """Whether the kernel's own padding means something else: it never counts, and does not exist for dilated windows."""
    if isinstance(op, ChannelsLastLpPool) or any(d > 1 for d in op.dilations or ()):
        return True
    return isinstance(op, ChannelsLastAveragePool) and bool(op.count_include_pad)


def _explicit(window: Window, spatial: Sequence[Any]) -> Window | str:
    """The same window with explicit pads in place of SAME."""
    begins, ends = [], []
    for n, extent, stride in zip(spatial, window.extents, window.strides, strict=True):
        if stride > 1 and not isinstance(n, int):
            return "SAME pads by sizes that are known at run time only"
        total = extent - 1 if stride == 1 else max((-(-n // stride) - 1) * stride + extent - n, 0)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return replace(window, padding="VALID", begins=tuple(begins), ends=tuple(ends), counted=tuple(ends))


def _writable(node: Node) -> Verdict | str | None:
    x = node.inputs[0]
    assert x is not None and x.shape is not None
    if x.rank not in (3, 4, 5) or not isinstance(x.shape[-1], int):
        return no("one to three spatial dimensions and a known number of channels are needed", "rank")
    if x.rank == 5 and not x.tensor.is_static:
        return no("pooling of a volume merges axes whose sizes are known at run time only", "dynamic-shape")
    found = pool_window(node)
    return no(found, "dynamic-shape") if isinstance(found, str) else None


def write(e: Emitter, node: Node, x: int, pool: ImagePool, into: tuple[int, int] | None = None) -> None:
    """Pool a line, an image, or a volume: first its planes, then along its depth.

    Args:
        into: where to write, and the code of the activation; by default the node's result with what fuses.
    """
    window = pool_window(node)
    assert isinstance(window, Window)
    channels = e.shape(x)[-1]
    assert channels is not None
    if len(window.kernel) < 3:
        if len(window.kernel) == 1:
            window, x = window.in_two_dimensions(), as_image(e, x)
        target = Target(e, into or e.activated(node), output_sizes(window, e.shape(x)[1:-1]), channels)
        pool(x, window, target.tensor, target.activation)
        target.finish()
        return
    plane, along = window.over((1, 2), 0), window.over((0,), 1)
    batch, depth, height, width, _ = e.shape(x)
    flat = e.reshaped(x, [product_of([batch, depth]), height, width, channels])
    sizes = output_sizes(plane, [height, width])
    middle = e.temporary([e.shape(flat)[0], *sizes, channels], e.dtype(x))
    pool(flat, plane, middle, 0)
    lines = e.reshaped(middle, [batch, depth, product_of(sizes), channels])
    result, code = into or e.activated(node)
    final = e.temporary([batch, *output_sizes(along, e.shape(lines)[1:-1]), channels], e.dtype(x))
    pool(lines, along, final, code)
    e.reshape_into(final, result, e.shape(result))


def pool_options(window: Window) -> dict[str, Any]:
    """The fields of the option table of pooling kernels."""
    shared = {name: value for name, value in window_options(window).items() if not name.startswith("dilation")}
    return {**shared, "filterHeight": window.kernel[0], "filterWidth": window.kernel[1]}


def combined_taps(e: Emitter, x: int, window: Window, name: str) -> int:
    """The elements under a (perhaps dilated) window combined by a binary operator, one axis after the other."""
    for axis in (1, 2):
        taps, step, extent = window.kernel[axis - 1], window.dilations[axis - 1], window.extents[axis - 1]
        parts = [_tap(e, x, axis, tap * step, extent - 1 - tap * step, window.strides[axis - 1]) for tap in range(taps)]
        x = parts[0]
        for part in parts[1:]:
            x = e.binary(name, x, part)
    return x


def _tap(e: Emitter, x: int, axis: int, first: int, rest: int, stride: int) -> int:
    """Every ``stride``-th element along an axis but the ``first`` and those of the last ``rest``."""
    if not first and not rest and stride == 1:
        return x
    shape = list(e.shape(x))
    n = shape[axis]
    shape[axis] = None if n is None else (n - first - rest - 1) // stride + 1
    begin, end, steps = [0] * len(shape), [0] * len(shape), [1] * len(shape)
    begin[axis], end[axis], steps[axis] = first, -rest, stride
    mask = (1 << len(shape)) - 1 - ((1 << axis) if rest else 0)
    y = e.temporary(shape, e.dtype(x))
    e.op("STRIDED_SLICE", [x, e.ints(begin), e.ints(end), e.ints(steps)], [y], beginMask=0, endMask=mask)
    return y


# -- maxima --------------------------------------------------------------------------------------------------------------------
def never_negative(value: Value) -> bool:
    """Whether no element of a value can be below zero, as far as its producer tells."""
    node = value.producer
    if node is None:
        return False
    if isinstance(node.op, Clip):
        low = node.operand(1)
        return low is not None and low.data is not None and float(low.data.numpy().reshape(-1)[0]) >= 0
    return isinstance(node.op, Relu | Sigmoid)


@emits(ChannelsLastMaxPool, when=_writable)
def max_pool(e: Emitter, node: Node) -> None:
    """MAX_POOL_2D after a Pad with the lowest number (with zeros where nothing is negative); dilated windows as maxima of slices."""
    source = node.inputs[0]
    assert source is not None
    fill = None if never_negative(source) else LOWEST

    write(e, node, e.operand(source), lambda x, window, y, code: _greatest(e, x, window, y, code, fill))


def _greatest(e: Emitter, x: int, window: Window, y: int, code: int, fill: float | None) -> None:
    if window.padding == "VALID":
        x = padded(e, x, window.begins, window.ends, fill)
    if max(window.dilations) > 1:
        x = combined_taps(e, x, window, "MAXIMUM")
        window = Window((1, 1), (1, 1), (1, 1), "VALID", (0, 0), (0, 0))
    e.op("MAX_POOL_2D", [x], [y], **pool_options(window), fusedActivationFunction=code)


@emits(ChannelsLastMaxPool, dtypes=BYTES, when=_writable, level="decomposed")
def max_pool_of_bytes(e: Emitter, node: Node) -> None:
    """The maximum in float32, which holds every byte exactly."""
    source, dtype = node.inputs[0], node.output.dtype
    assert source is not None and dtype is not None
    result = e.result(node.output)
    wide = e.temporary(e.shape(result), DType.FLOAT)
    write(e, node, e.cast(e.operand(source), DType.FLOAT), lambda x, w, y, code: _greatest(e, x, w, y, code, LOWEST), (wide, 0))
    e.cast_into(wide, result)


# -- means ---------------------------------------------------------------------------------------------------------------------
def mean(e: Emitter, x: int, window: Window, y: int, code: int) -> None:
    """The sums under windows without pads, divided by the number of elements that a window spans."""
    if max(window.dilations) > 1:
        total, span = combined_taps(e, x, window, "ADD"), math.prod(window.kernel)
        e.op("MUL", [total, e.number(1 / span)], [y], fusedActivationFunction=code)
    else:
        e.op("AVERAGE_POOL_2D", [x], [y], **pool_options(window), fusedActivationFunction=code)


def covered(size: int, window: Window, axis: int, include_pads: bool) -> Any:
    """How many elements each window covers along an axis, of those that count."""
    begin, end = window.begins[axis], window.ends[axis]
    count = (size + begin + end - window.extents[axis]) // window.strides[axis] + 1
    low, high = (-begin, size + (window.counted[axis] if window.counted else end)) if include_pads else (0, size)
    places = np.arange(count)[:, None] * window.strides[axis] - begin + np.arange(window.kernel[axis]) * window.dilations[axis]
    return np.maximum(((places >= low) & (places < high)).sum(axis=1), 1)


def _constant_ratio(window: Window, spatial: Sequence[int | None], include_pads: bool) -> Any:
    """What a mean over whole windows is to be multiplied by, ``[1, height, width, 1]``; None when sizes are not known."""
    ratio = np.ones((1, 1, 1, 1))
    for axis, size in enumerate(spatial):
        shape = [1, -1, 1, 1] if axis == 0 else [1, 1, -1, 1]
        everything = not window.begins[axis] and not window.ends[axis]
        counted = include_pads and window.counted and window.counted[axis] == window.ends[axis]
        if everything or counted:
            continue
        if size is None:
            return None
        ratio = ratio * (window.kernel[axis] / covered(size, window, axis, include_pads)).reshape(shape)
    return ratio.astype(np.float32)


def _computed_share(e: Emitter, x: int, window: Window, include_pads: bool) -> int:
    """The share of each window that counts: the mean of ones where elements count and zeros elsewhere."""
    sizes = joined(e, [e.ints([1]), gathered(e, e.shape_of(x), [1, 2]), e.ints([1])], 0)
    ones = e.temporary([1, *e.shape(x)[1:-1], 1], e.dtype(x))
    e.op("FILL", [sizes, e.number(1.0)], [ones])
    begins, ends = window.begins, window.ends
    if include_pads:
        counted = window.counted or ends
        ones = padded(e, ones, begins, counted, 1.0)
        begins, ends = (0, 0), tuple(end - part for end, part in zip(ends, counted, strict=True))
    ones = padded(e, ones, begins, ends)
    share = e.temporary([1, *output_sizes(replace(window, begins=(0, 0), ends=(0, 0)), e.shape(ones)[1:-1]), 1], e.dtype(x))
    mean(e, ones, window, share, 0)
    return share


@emits(ChannelsLastAveragePool, when=_writable)
def average_pool(e: Emitter, node: Node) -> None:
    """AVERAGE_POOL_2D after a Pad; where windows cover less than they span, divided by the share that counts."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, ChannelsLastAveragePool) and source is not None
    include = bool(op.count_include_pad)

    def pool(x: int, window: Window, y: int, code: int) -> None:
        if window.padding == "SAME":
            e.op("AVERAGE_POOL_2D", [x], [y], **pool_options(window), fusedActivationFunction=code)
            return
        ratio = _constant_ratio(window, e.shape(x)[1:-1], include)
        filled = padded(e, x, window.begins, window.ends)
        if ratio is not None and (ratio == 1).all():
            mean(e, filled, window, y, code)
            return
        whole = e.temporary(e.shape(y), e.dtype(x))
        mean(e, filled, window, whole, 0)
        if ratio is not None:
            e.op("MUL", [whole, e.constant(ratio)], [y], fusedActivationFunction=code)
        else:
            e.op("DIV", [whole, _computed_share(e, x, window, include)], [y], fusedActivationFunction=code)

    write(e, node, e.operand(source), pool)


@emits(ChannelsLastLpPool, when=_writable, level="decomposed")
def lp_pool(e: Emitter, node: Node) -> None:
    """The mean of powers times the number of elements, and its root."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, ChannelsLastLpPool) and source is not None
    x = e.operand(source)
    powers = e.binary("MUL", x, x) if op.p == 2 else e.unary("ABS", x)
    if op.p > 2:
        powers = e.binary("POW", powers, e.number(float(op.p)))

    steps = 2 if len(op.kernel_shape) == 3 else 1

    def pool(part: int, window: Window, y: int, code: int) -> None:
        nonlocal steps
        steps -= 1
        part = padded(e, part, window.begins, window.ends)
        whole = e.temporary(e.shape(y), e.dtype(x))
        mean(e, part, window, whole, 0)
        span = e.number(float(math.prod(window.kernel)))
        if steps or op.p == 1:
            e.op("MUL", [whole, span], [y], fusedActivationFunction=code)
            return
        total = e.binary("MUL", whole, span)
        if code:  # a fused activation needs a kernel that has one
            root = e.unary("SQRT", total) if op.p == 2 else e.binary("POW", total, e.number(1 / op.p))
            e.op("MUL", [root, e.number(1.0)], [y], fusedActivationFunction=code)
        elif op.p == 2:
            e.op("SQRT", [total], [y])
        else:
            e.op("POW", [total, e.number(1 / op.p)], [y])

    write(e, node, powers, pool)
