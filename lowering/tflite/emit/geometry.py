"""Sliding windows as LiteRT's kernels take them: padding SAME or VALID, and explicit pads as an operator before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....ir.ops.windows import explicit_pads, per_axis, same_pads
from ..emitter import Emitter
from ..schema import enumerator
from .pads import pad_into

Sizes = Sequence[Any]


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes.

    Attributes:
        kernel: sizes of the window.
        strides: steps between windows.
        dilations: steps between the elements of a window.
        padding: ``SAME`` when the kernel's own padding is exactly what is wanted, else ``VALID``.
        begins: explicit pads before the operator, zero for ``SAME``.
        ends: likewise at the end.
        counted: the part of the end pads that a mean with pads counts.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    counted: tuple[int, ...] = ()

    @property
    def extents(self) -> tuple[int, ...]:
        """How far each window reaches."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def code(self) -> int:
        """The padding as option tables hold it."""
        return enumerator("Padding", self.padding)

    def in_two_dimensions(self) -> Window:
        """The window of a line as one of an image of height 1."""
        return Window(
            (1, *self.kernel),
            (1, *self.strides),
            (1, *self.dilations),
            self.padding,
            (0, *self.begins),
            (0, *self.ends),
            (0, *self.counted) if self.counted else (),
        )

    def over(self, axes: Sequence[int], ones: int) -> Window:
        """The window over some of the axes, followed by axes that it leaves alone."""

        def pick(values: Sequence[int], fill: int) -> tuple[int, ...]:
            return (*(values[a] for a in axes), *(fill,) * ones)

        counted = pick(self.counted, 0) if self.counted else ()
        return Window(
            pick(self.kernel, 1),
            pick(self.strides, 1),
            pick(self.dilations, 1),
            self.padding,
            pick(self.begins, 0),
            pick(self.ends, 0),
            counted,
        )


def window_of(op: Any, spatial: Sizes, kernel: Sequence[int]) -> Window | str:
    """The window of an operator with the attributes of Conv over axes of these sizes, or why it cannot be told before the run."""
    rank = len(kernel)
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    lower_needs_sizes = op.auto_pad == "SAME_LOWER" and any(s > 1 for s in strides)
    if lower_needs_sizes and not all(isinstance(n, int) for n in spatial):
        return "SAME_LOWER pads by sizes that are known at run time only"
    if op.auto_pad == "SAME_UPPER":
        return Window(tuple(kernel), strides, dilations, "SAME", (0,) * rank, (0,) * rank)
    if op.auto_pad == "SAME_LOWER":  # with stride 1 the sizes do not matter
        pads = same_pads([n if isinstance(n, int) else 1 for n in spatial], kernel, strides, dilations, "SAME_LOWER")
        if not any(s > 1 for s in strides):
            totals = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
            pads = (*(t - t // 2 for t in totals), *(t // 2 for t in totals))
    else:
        pads = explicit_pads(op.pads, rank, op.auto_pad)
    return window_with(tuple(kernel), strides, dilations, tuple(pads), spatial)


def window_with(
    kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], pads: tuple[int, ...], spatial: Sizes
) -> Window:
    """A window with explicit pads: as SAME where that is the same, without end pads that no window reaches."""
    rank = len(kernel)
    begins, ends = list(pads[:rank]), list(pads[rank:])
    same = True
    for i, (size, k, stride, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
        extent = (k - 1) * dilation + 1
        same = same and _is_same(size, extent, stride, begins[i], ends[i])
        if isinstance(size, int) and size + begins[i] >= extent:
            unused = (size + begins[i] + ends[i] - extent) % stride
            ends[i] -= min(unused, max(ends[i], 0))
    if same and (any(begins) or any(ends)):
        return Window(kernel, strides, dilations, "SAME", (0,) * rank, (0,) * rank)
    return Window(kernel, strides, dilations, "VALID", tuple(begins), tuple(ends))


def window_options(window: Window) -> dict[str, Any]:
    """The fields of the option tables of kernels with two spatial dimensions."""
    return {
        "padding": window.code,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
    }


def _is_same(size: Any, extent: int, stride: int, begin: int, end: int) -> bool:
    """Whether SAME starts at the same place and gives as many windows as explicit pads."""
    if stride == 1:
        return (begin, end) == ((extent - 1) // 2, extent - 1 - (extent - 1) // 2)
    if not isinstance(size, int):
        return False
    count = -(-size // stride)
    total = max((count - 1) * stride + extent - size, 0)
    return begin == total // 2 and (size + begin + end - extent) // stride + 1 == count


def output_sizes(window: Window, spatial: Sizes) -> list[int | None]:
    """The numbers of windows, None where sizes are known at run time only."""
    result: list[int | None] = []
    for i, n in enumerate(spatial):
        if not isinstance(n, int):
            result.append(None)
        elif window.padding == "SAME":
            result.append(-(-n // window.strides[i]))
        else:
            result.append((n + window.begins[i] + window.ends[i] - window.extents[i]) // window.strides[i] + 1)
    return result


def padded(e: Emitter, x: int, begins: Sequence[int], ends: Sequence[int], fill: float | None = None, for_convolution: bool = False) -> int:
    """The spatial axes of ``[batch, *spatial, channels]`` padded (cropped where negative), with zeros or ``fill``."""
    if any(p < 0 for p in (*begins, *ends)):
        x = cropped(e, x, [max(-p, 0) for p in begins], [max(-p, 0) for p in ends])
        begins, ends = [max(p, 0) for p in begins], [max(p, 0) for p in ends]
    if not any(begins) and not any(ends):
        return x
    widths = [(0, 0), *((int(b), int(a)) for b, a in zip(begins, ends, strict=True)), (0, 0)]
    y = e.like(x, [n if n is None else n + before + after for n, (before, after) in zip(e.shape(x), widths, strict=True)])
    pad_into(e, x, widths, y, None if fill is None else e.number(fill, e.dtype(x)), not for_convolution)
    return y


def cropped(e: Emitter, x: int, begins: Sequence[int], ends: Sequence[int], into: int | None = None) -> int:
    """Elements taken away from the spatial axes of ``[batch, *spatial, channels]``, written to ``into`` when that is given."""
    if not any(begins) and not any(ends):
        return x
    shape = e.shape(x)
    first, last = [0, *begins, 0], [0, *(-p for p in ends), 0]
    mask = sum(1 << axis for axis, p in enumerate(last) if p == 0)
    sizes = [n if n is None else n - b + a for n, b, a in zip(shape, first, last, strict=True)]
    y = into if into is not None else e.like(x, sizes)
    e.op("STRIDED_SLICE", [x, e.ints(first), e.ints(last), e.ints([1] * len(shape))], [y], beginMask=0, endMask=mask)
    return y


def as_image(e: Emitter, x: int) -> int:
    """``[batch, length, channels]`` as an image of height 1."""
    batch, length, channels = e.shape(x)
    if None not in (batch, length) or [batch, length, channels].count(None) == 1:
        return e.reshaped(x, [batch, 1, length, channels])
    y = e.like(x, [batch, 1, length, channels])
    e.op("EXPAND_DIMS", [x, e.ints([1])], [y])
    return y


def as_line_into(e: Emitter, x: int, y: int) -> None:
    """An image of height 1 as ``[batch, length, channels]``."""
    batch, _, length, channels = e.shape(x)
    shape = [batch, length, channels]
    if shape.count(None) <= 1:
        e.reshape_into(x, y, shape)
    else:
        e.op("SQUEEZE", [x], [y], squeezeDims=[1])


def product_of(sizes: Sizes) -> int | None:
    """The product of sizes, None when one is known at run time only."""
    total = 1
    for size in sizes:
        if size is None:
            return None
        total *= size
    return total


def merged(e: Emitter, x: int, first: int, last: int) -> int:
    """The axes from ``first`` to ``last`` (included) as one."""
    shape = e.shape(x)
    sizes = [*shape[:first], product_of(shape[first : last + 1]), *shape[last + 1 :]]
    return e.reshaped(x, sizes)
