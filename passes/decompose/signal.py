"""Fourier transforms by matrix products with constant matrices whose tiny entries are exact zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.signal import DFT, STFT
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-signal"
MAX_ENTRIES = 1 << 22


def fourier_matrix(length: int, frequencies: int, inverse: bool = False) -> tuple[Any, Any]:
    """Cosines and sines ``[length, frequencies]`` in float64; the angles are reduced before they are rounded."""
    turns = np.outer(np.arange(length), np.arange(frequencies)) % length
    angles = 2 * np.pi * turns / length
    real, imaginary = np.cos(angles), np.sin(angles) * (1 if inverse else -1)
    for part in (real, imaginary):
        part[np.abs(part) < 1e-9] = 0
    return real, imaginary


def _planes(t: Terms, x: Value, parts: int) -> list[Value]:
    """The real and, if there is one, the imaginary plane: the last axis taken apart."""
    assert x.rank is not None
    last = x.rank - 1
    if parts == 1:
        return [t.squeeze(x, [last])]
    return [t.squeeze(p, [last]) for p in t.halves(x, last, [1, 1])]


@decomposes(DFT, name="decompose-dft", group=GROUP)
def dft(node: Node, t: Terms) -> Result:
    """A transform of known length as products with constant matrices."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, DFT) and x is not None
    given, axis_operand = node.operand(1), node.operand(2)
    axes = (-2,) if axis_operand is None else axis_operand.ints
    if x.shape is None or axes is None:
        return Decline("the axis is not known")
    rank = len(x.shape)
    axis, parts, size = axes[0] % rank, x.shape[-1], x.shape[axes[0] % rank]
    wanted = size if given is None else given.ints[0] if given.ints else None
    if op.inverse and op.onesided:
        if given is None and isinstance(size, int):
            wanted = 2 * (size - 1)
    if not isinstance(size, int) or not isinstance(wanted, int) or parts not in (1, 2):
        return Decline("the length of the transform is not known")
    frequencies = wanted if not op.onesided or op.inverse else wanted // 2 + 1
    used = min(size, wanted)
    if wanted * frequencies > MAX_ENTRIES:
        return Decline("the matrix of the transform would be too large")
    if size > used:
        x = t.slice(x, axis, 0, used)
    wide = t.widen(x)
    dtype = wide.dtype or DType.FLOAT
    real, imaginary = fourier_matrix(wanted, frequencies, bool(op.inverse))
    if op.inverse and op.onesided:
        return _real_inverse(node, t, wide, axis, used, wanted, dtype)
    scale = 1 / wanted if op.inverse else 1.0
    cosine, sine = (t.constant((m[:used] * scale).astype(dtype.numpy), dtype) for m in (real, imaginary))
    last = rank - 2
    order = [a for a in range(rank - 1) if a != axis] + [axis]
    back = np.argsort(order).tolist()
    planes = [t.transpose(p, order) for p in _planes(t, wide, parts)]
    re, im = t.matmul(planes[0], cosine), t.matmul(planes[0], sine)
    if parts == 2:
        re, im = t.sub(re, t.matmul(planes[1], sine)), t.add(im, t.matmul(planes[1], cosine))
    joined = t.concat([t.unsqueeze(t.transpose(p, back), [last + 1]) for p in (re, im)], last + 1)
    return t.cast(joined, node.output.dtype)


def _real_inverse(node: Node, t: Terms, x: Value, axis: int, used: int, wanted: int, dtype: DType) -> Result:
    """The real signal of which ``x`` holds the non-negative frequencies."""
    if x.shape is None or x.shape[-1] != 2:
        return Decline("the inverse of a one-sided transform needs complex numbers")
    used = min(used, wanted // 2 + 1)
    x = t.slice(x, axis, 0, used)
    weights = np.full(used, 2.0)
    weights[0] = 1
    if wanted % 2 == 0 and used == wanted // 2 + 1:
        weights[-1] = 1
    real, imaginary = fourier_matrix(wanted, wanted, True)
    cosine, sine = (t.constant((m[:used] * weights[:, None] / wanted).astype(dtype.numpy), dtype) for m in (real, imaginary))
    rank = len(x.shape or ())
    order = [a for a in range(rank - 1) if a != axis] + [axis]
    planes = [t.transpose(p, order) for p in _planes(t, x, 2)]
    signal = t.sub(t.matmul(planes[0], cosine), t.matmul(planes[1], sine))
    return t.cast(t.unsqueeze(t.transpose(signal, np.argsort(order).tolist()), [rank - 1]), node.output.dtype)


@decomposes(STFT, name="decompose-stft", group=GROUP)
def stft(node: Node, t: Terms) -> Result:
    """Frames gathered, multiplied by the window and by the matrix of the transform."""
    op, signal = node.op, node.inputs[0]
    assert isinstance(op, STFT) and signal is not None
    step, window, length = node.inputs[1], node.operand(2), node.operand(3)
    hop = step.ints[0] if step is not None and step.ints else None
    size = length.ints[0] if length is not None and length.ints else None
    if size is None and window is not None and window.shape is not None and isinstance(window.shape[0], int):
        size = window.shape[0]
    if signal.shape is None or hop is None or size is None or not isinstance(signal.shape[1], int):
        return Decline("the lengths of signal, frames and steps are not known")
    parts = signal.shape[2] if len(signal.shape) == 3 else 1
    if parts not in (1, 2) or window is not None and window.shape != (size,):
        return Decline("the window or the signal has an unusual shape")
    frames = (signal.shape[1] - size) // hop + 1
    frequencies = size // 2 + 1 if op.onesided else size
    places = t.constant(np.arange(frames)[:, None] * hop + np.arange(size))
    wide = t.widen(signal)
    planes = _planes(t, wide, parts) if len(signal.shape) == 3 else [wide]
    dtype = wide.dtype or DType.FLOAT
    cosine, sine = (t.constant(m.astype(dtype.numpy), dtype) for m in fourier_matrix(size, frequencies))
    cut = [t.take(p, places, 1) for p in planes]
    if window is not None:
        cut = [t.mul(p, t.widen(window)) for p in cut]
    re, im = t.matmul(cut[0], cosine), t.matmul(cut[0], sine)
    if parts == 2:
        re, im = t.sub(re, t.matmul(cut[1], sine)), t.add(im, t.matmul(cut[1], cosine))
    return t.cast(t.concat([t.unsqueeze(re, [3]), t.unsqueeze(im, [3])], 3), node.output.dtype)
