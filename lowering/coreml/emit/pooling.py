"""Pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.pooling import AveragePool, GlobalAveragePool, GlobalMaxPool, LpPool, MaxPool
from ....ir.ops.windows import explicit_pads, per_axis, resolved_pads, window_counts
from .context import Emission
from .conv import pad_zeros
from .translation import Obstacle, every, translates

_FEW_TAPS = 256


def _window(node: Node) -> Obstacle | None:
    x = node.inputs[0]
    assert x is not None
    if x.shape is None or not 3 <= len(x.shape) <= 5:
        return Obstacle("rank", "MIL pools over one to three spatial dimensions")
    op: Any = node.op
    spatial = x.shape[2:]
    free = not all(isinstance(d, int) for d in spatial)
    strided = any(s != 1 for s in per_axis(op.strides, len(spatial), "strides"))
    if free and (strided and (op.ceil_mode or op.auto_pad in ("SAME_UPPER", "SAME_LOWER")) or not _Geometry(node).native):
        return Obstacle("dynamic-shape", "strides with ceil_mode or auto_pad, dilations and pads beyond the window need known sizes")
    if len(node.outputs) > 1 and node.outputs[1].uses:
        return Obstacle("attribute", "MIL does not give the positions of the greatest elements")
    if not _plain(op) and math.prod(op.kernel_shape) > _FEW_TAPS:
        return Obstacle("attribute", f"dilated windows of more than {_FEW_TAPS} elements")
    return None


def _plain(op: Any) -> bool:
    return not op.dilations or all(d == 1 for d in op.dilations)


class _Geometry:
    """Pads including what ceil_mode adds, and the number of windows when the sizes are known."""

    def __init__(self, node: Node) -> None:
        op: Any = node.op
        shape: Any = node.inputs[0].shape  # type: ignore[union-attr]
        spatial = shape[2:]
        rank = len(spatial)
        self.rank, self.kernel = rank, tuple(op.kernel_shape)
        self.strides, self.dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
        self.counts: tuple[int, ...] | None = None
        if not all(isinstance(d, int) for d in spatial):
            same = op.auto_pad in ("SAME_UPPER", "SAME_LOWER")
            self.pads = self._unstrided(op.auto_pad) if same else explicit_pads(op.pads, rank, op.auto_pad)
            self.overhang = (0,) * rank
            return
        self.pads = resolved_pads(spatial, self.kernel, self.strides, self.dilations, op.pads, op.auto_pad)
        self.counts = window_counts(spatial, self.kernel, self.strides, self.dilations, self.pads, op.auto_pad, op.ceil_mode)
        self.overhang = tuple(
            (self.counts[i] - 1) * self.strides[i] + (self.kernel[i] - 1) * self.dilations[i] + 1
            - spatial[i] - self.pads[i] - self.pads[i + rank]
            for i in range(rank)
        )  # fmt: skip

    def _unstrided(self, auto_pad: str) -> tuple[int, ...]:
        """Pads that keep the sizes when windows move by one."""
        totals = [(k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True)]
        small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        return (*small, *large) if auto_pad == "SAME_UPPER" else (*large, *small)

    @property
    def mil_pads(self) -> list[int]:
        """Pairs for each spatial axis, with the overhang at the end; what no window reaches is left out."""
        ends = [self.pads[i + self.rank] + max(self.overhang[i], 0) for i in range(self.rank)]
        return [p for i in range(self.rank) for p in (self.pads[i], ends[i])]

    @property
    def native(self) -> bool:
        """Whether MIL's own pooling can be used: no dilations, and no window in the pads alone."""
        pads = self.mil_pads
        return all(d == 1 for d in self.dilations) and all(
            0 <= pads[2 * i] < k and 0 <= pads[2 * i + 1] < k for i, k in enumerate(self.kernel)
        )

    @property
    def covers(self) -> bool:
        """Whether windows hang over the pads."""
        return any(o > 0 for o in self.overhang)


@translates(MaxPool, when=_window, level="partial")
def max_pool(e: Emission, node: Node) -> None:
    """The greatest element of each window; dilated windows are the maximum of shifted views."""
    g, x = _Geometry(node), e.operand(node)
    if g.native:
        e.bind(node, e.mil.max_pool(x=x, kernel_sizes=list(g.kernel), strides=list(g.strides), pad_type="custom", pad=g.mil_pads))
        return
    views = _views(e, x, g, -np.inf)
    result = views[0]
    for view in views[1:]:
        result = e.mil.maximum(x=result, y=view)
    e.bind(node, result)


@translates(AveragePool, when=_window, level="partial")
def average_pool(e: Emission, node: Node) -> None:
    """The mean of each window, with or without the pads; where MIL counts otherwise, sums are divided by constant counts."""
    op, g, x = node.op, _Geometry(node), e.operand(node)
    assert isinstance(op, AveragePool)
    exclude = not op.count_include_pad
    if g.native and (exclude or not g.covers):
        pooled = e.mil.avg_pool(
            x=x,
            kernel_sizes=list(g.kernel),
            strides=list(g.strides),
            pad_type="custom",
            pad=g.mil_pads,
            exclude_padding_from_average=exclude and any(g.mil_pads),
        )
        e.bind(node, pooled)
        return
    views = _views(e, x, g, 0.0)
    total = views[0]
    for view in views[1:]:
        total = e.mil.add(x=total, y=view)
    counts = _covered(g, node.inputs[0].shape[2:], not exclude)  # type: ignore[index,union-attr]
    kind = np.float16 if e.kind(x) == "fp16" else np.float32
    e.bind(node, e.mil.real_div(x=total, y=counts.astype(kind)[None, None]))


def _views(e: Emission, x: Any, g: _Geometry, fill: float) -> list[Any]:
    """For each position inside the window the elements under it, for all windows at once."""
    assert g.counts is not None
    if any(g.mil_pads):
        x = pad_zeros(e, x, [0, 0, 0, 0, *g.mil_pads], fill)
    views = []
    for offset in np.ndindex(*g.kernel):
        begin = [o * d for o, d in zip(offset, g.dilations, strict=True)]
        end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, g.counts, g.strides, strict=True)]
        sliced = e.mil.slice_by_index(
            x=x,
            begin=[0, 0, *begin],
            end=[0, 0, *end],
            stride=[1, 1, *g.strides],
            begin_mask=[True, True, *(False,) * g.rank],
            end_mask=[True, True, *(False,) * g.rank],
        )
        views.append(sliced)
    return views


def _covered(g: _Geometry, spatial: tuple[int, ...], include_pads: bool) -> Any:
    """How many elements each window covers; the overhang never counts."""
    assert g.counts is not None
    result = np.ones((1,) * g.rank)
    for axis, size in enumerate(spatial):
        low = -g.pads[axis] if include_pads else 0
        high = size + g.pads[axis + g.rank] if include_pads else size
        starts = np.arange(g.counts[axis])[:, None] * g.strides[axis] - g.pads[axis]
        positions = starts + np.arange(g.kernel[axis]) * g.dilations[axis]
        count = ((positions >= low) & (positions < high)).sum(axis=1)
        result = result * count.reshape(-1, *(1,) * (g.rank - 1 - axis))
    return result


def _lp(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, LpPool)
    if _Geometry(node).counts is None:
        return Obstacle("dynamic-shape", "sums over windows need known sizes")
    return None if op.p in (1, 2) else Obstacle("attribute", "only the norms with p 1 and 2 are translated")


@translates(LpPool, when=every(_window, _lp), level="decomposed")
def lp_pool(e: Emission, node: Node) -> None:
    """Sums of magnitudes or squares over shifted views."""
    op, g, x = node.op, _Geometry(node), e.operand(node)
    assert isinstance(op, LpPool)
    views = _views(e, e.mil.abs(x=x) if op.p == 1 else e.mil.mul(x=x, y=x), g, 0.0)
    total = views[0]
    for view in views[1:]:
        total = e.mil.add(x=total, y=view)
    e.bind(node, total if op.p == 1 else e.mil.sqrt(x=total))


@translates(GlobalAveragePool, GlobalMaxPool)
def global_pool(e: Emission, node: Node) -> None:
    """A reduction over the spatial axes."""
    x = e.operand(node)
    function = e.mil.reduce_mean if isinstance(node.op, GlobalAveragePool) else e.mil.reduce_max
    e.bind(node, function(x=x, axes=list(range(2, len(x.shape))), keep_dims=True))
