"""Padding: constants, reflections, edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.concat import Pad
from .context import Emission, ints
from .translation import FLOATS, MOVABLE, Obstacle, translates


def _pad(node: Node) -> Obstacle | None:
    op, pads, axes = node.op, node.inputs[1], node.operand(3)
    assert isinstance(op, Pad) and pads is not None
    if pads.ints is None or axes is not None and axes.ints is None:
        return Obstacle("dynamic-parameter", "MIL wants pads as constants")
    value = node.operand(2)
    if value is not None and value.data is None and value.ints is None and not node.inputs[0].tensor.is_static:  # type: ignore[union-attr]
        return Obstacle("dynamic-parameter", "MIL wants the pad value as a constant")
    spread = _pads(node)
    assert spread is not None
    shape = node.inputs[0].shape  # type: ignore[union-attr]
    if min(spread, default=0) < 0 and op.mode != "constant":
        return Obstacle("attribute", "negative pads with mode other than constant")
    if op.mode in ("reflect", "wrap", "edge") and shape is not None:
        if not _padded_known(node) and (op.mode == "wrap" or node.inputs[0].dtype not in FLOATS or any(_padded_axes(spread)[:-2])):  # type: ignore[union-attr]
            return Obstacle("dynamic-shape", f"mode {op.mode} needs known sizes of the axes that it pads")
    if op.mode not in ("constant", "reflect", "edge", "wrap"):
        return Obstacle("attribute", f"MIL has no pad mode {op.mode}")
    if op.mode == "reflect" and shape is not None:
        rank = len(shape)
        if any(max(spread[i], spread[i + rank]) >= d for i, d in enumerate(shape) if isinstance(d, int)):
            return Obstacle("attribute", "reflections reach beyond the operand")
    return None


def _padded_axes(spread: Sequence[int]) -> list[bool]:
    rank = len(spread) // 2
    return [bool(spread[i] or spread[i + rank]) for i in range(rank)]


def _padded_known(node: Node) -> bool:
    """Whether the sizes of the axes that are padded are known."""
    spread = _pads(node) or []
    return all(isinstance(d, int) or not p for d, p in zip(node.inputs[0].shape or (), _padded_axes(spread), strict=True))  # type: ignore[union-attr]


def _pads(node: Node) -> list[int] | None:
    """The pads of all axes: begins, then ends."""
    pads, axes = node.inputs[1], node.operand(3)
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    if pads is None or pads.ints is None or rank is None:
        return None
    chosen = [a % rank for a in axes.ints or ()] if axes is not None else list(range(rank))
    full = [0] * (2 * rank)
    for place, axis in enumerate(chosen):
        full[axis], full[axis + rank] = pads.ints[place], pads.ints[place + len(chosen)]
    return full


@translates(Pad, dtypes=MOVABLE, when=_pad, level="partial")
def pad(e: Emission, node: Node) -> None:
    """Constant pads by MIL's operator, reflections and edges by taking elements along each axis; negative pads crop.

    Axes of unknown size, which have to be among the last two, are reflected and repeated by MIL's operator.
    """
    op = node.op
    assert isinstance(op, Pad)
    full = _pads(node)
    assert full is not None
    original = e.operand(node)
    rank = len(original.shape)
    if op.mode in ("reflect", "edge") and not _padded_known(node):
        pairs = ints([p for i in (rank - 2, rank - 1) if i >= 0 for p in (full[i], full[i + rank])])
        mode = "reflect" if op.mode == "reflect" else "replicate"
        e.bind(node, e.mil.pad(x=original, pad=pairs, mode=mode, constant_val=e.like(0, original)))
        return
    if op.mode in ("reflect", "edge", "wrap"):
        e.bind(node, _taken(e, original, full, op.mode))
        return
    x = original
    if min(full) < 0:
        begin = ints([max(-p, 0) for p in full[:rank]])
        end = ints([min(p, 0) for p in full[rank:]])
        x = e.mil.slice_by_index(x=x, begin=begin, end=end, end_mask=[p >= 0 for p in full[rank:]])
        full = [max(p, 0) for p in full]
    known = e.known(node, 2)
    value = 0 if known is None else known.reshape(()).item()
    if node.operand(2) is not None and known is None:
        e.bind(node, _joined(e, x, full, e.operand(node, 2)))
    elif not any(full):
        e.bind(node, e.mil.identity(x=x))
    elif e.kind(x) in ("fp32", "fp16"):
        pairs = ints([p for i in range(rank) for p in (full[i], full[i + rank])])
        e.bind(node, e.mil.pad(x=x, pad=pairs, mode="constant", constant_val=e.like(value, x)))
    else:
        e.bind(node, _joined(e, x, full, value))


def _joined(e: Emission, x: Any, full: Sequence[int], value: Any) -> Any:
    """Constant pads by concatenation: MIL pads floats, and with a constant, only."""
    rank = len(x.shape)
    for axis in range(rank):
        shape = [int(d) for d in x.shape]
        parts: list[Any] = []
        for count in (full[axis], full[axis + rank]):
            block = None
            if count:
                shape[axis] = count
                block = _block(e, x, shape, value)
            parts.append(block)
        values = [p for p in (parts[0], x, parts[1]) if p is not None]
        if len(values) > 1:
            x = e.mil.concat(values=values, axis=axis)
    return x


def _block(e: Emission, x: Any, shape: Sequence[int], value: Any) -> Any:
    """One value everywhere."""
    if isinstance(value, int | float | bool):
        return e.const(np.full(shape, e.like(value, x)))
    single = (
        e.mil.reshape(x=value, shape=ints([1] * len(shape)))
        if len(value.shape)
        else e.mil.expand_dims(x=value, axes=list(range(len(shape))))
    )
    return e.mil.tile(x=single, reps=ints(shape))


def _taken(e: Emission, x: Any, full: Sequence[int], mode: str) -> Any:
    """Each padded axis as the elements at the mirrored or clamped positions."""
    rank = len(x.shape)
    kind = e.kind(x)
    if kind == "bool":
        x = e.cast(x, "int32")
    for axis in range(rank):
        before, after = full[axis], full[axis + rank]
        if not before and not after:
            continue
        size = int(x.shape[axis])
        positions = np.arange(-before, size + after)
        if mode == "edge":
            positions = np.clip(positions, 0, size - 1)
        elif mode == "wrap":
            positions = positions % size
        else:
            positions = np.abs(positions)
            positions = np.where(positions >= size, 2 * (size - 1) - positions, positions)
        x = e.mil.gather(x=x, indices=ints(positions), axis=axis)
    return e.cast(x, kind) if kind == "bool" else x
