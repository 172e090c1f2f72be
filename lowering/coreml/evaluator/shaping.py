"""Rearranging the elements of tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import undefined, unsupported
from .registry import Call, operator
from .values import Array


def axis_list(axes: Any) -> tuple[int, ...]:
    """An operand of axes as integers."""
    return tuple(int(a) for a in np.asarray(axes).reshape(-1))


@operator("transpose", moves=True)
def transpose(x: Array, perm: Any) -> Array:
    return np.ascontiguousarray(np.transpose(x, axis_list(perm)))


@operator("reshape", moves=True)
def reshape(x: Array, shape: Any, call: Call) -> Array:
    """The same elements in another shape; -1 stands for what is left, 0 for the size of ``x`` on that axis.

    From iOS17 on zeros are matched from the right, and are 1 where ``x`` has no such axis.
    """
    wanted = list(axis_list(shape))
    if 0 in wanted and call.opset < 17 and len(wanted) != x.ndim:
        undefined(f"a shape {wanted} with zeros needs an input of the same rank, not {list(x.shape)}")
    offset = x.ndim - len(wanted)
    for i, n in enumerate(wanted):
        if n == 0 and not (x.size == 0 and _fits(x, wanted)):
            wanted[i] = x.shape[i + offset] if i + offset >= 0 else 1
    if wanted.count(-1) > 1:
        undefined(f"the shape {wanted} has more than one -1")
    if -1 in wanted and math.prod(n for n in wanted if n != -1) == 0:
        undefined(f"the -1 in {wanted} can be anything")
    return x.reshape(wanted)


def _fits(x: Array, wanted: list[int]) -> bool:
    return -1 not in wanted and math.prod(wanted) == x.size


@operator("reshape_like", moves=True, tuples=("ref_tensors", "begins", "ends", "end_masks"))
def reshape_like(x: Array, ref_tensors: list[Array], begins: list[Any], ends: list[Any], end_masks: list[Any]) -> Array:
    """The same elements in a shape put together from parts of other tensors' shapes."""
    shape: list[int] = []
    for tensor, begin, end, open_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += tensor.shape[int(begin) :] if bool(open_end) else tensor.shape[int(begin) : int(end)]
    return x.reshape(shape)


@operator("expand_dims", moves=True)
def expand_dims(x: Array, axes: Any) -> Array:
    return np.expand_dims(x, axis_list(axes))


@operator("squeeze", moves=True)
def squeeze(x: Array, axes: Any = None) -> Array:
    """Drop axes of size 1; stated axes of another size stay."""
    if axes is None:
        return np.squeeze(x)
    return np.squeeze(x, tuple(a for a in axis_list(axes) if x.shape[a] == 1))


@operator("flatten2d", moves=True)
def flatten2d(x: Array, axis: Any = 1) -> Array:
    """All axes before ``axis`` in one, the others in another."""
    split = int(axis) + x.ndim if int(axis) < 0 else int(axis)
    return x.reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:]))


@operator("concat", moves=True, tuples=("values",))
def concat(values: list[Array], axis: Any, interleave: Any = False) -> Array:
    """Tensors one after the other, or interleaved element by element of the axis."""
    if len({v.dtype for v in values}) > 1:
        undefined(f"its operands have the element types {', '.join(sorted({str(v.dtype) for v in values}))}")
    if not bool(interleave):
        return np.concatenate(values, int(axis))
    place = int(axis) % values[0].ndim
    shape = list(values[0].shape)
    shape[place] *= len(values)
    return np.stack(values, place + 1).reshape(shape)


@operator("stack", moves=True, tuples=("values",))
def stack(values: list[Array], axis: Any) -> Array:
    return np.stack(values, int(axis))


@operator("split", moves=True)
def split(x: Array, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> tuple[Array, ...]:
    """Parts of stated or of equal sizes."""
    length = x.shape[int(axis)]
    if split_sizes is not None:
        sizes = axis_list(split_sizes)
    elif num_splits is None or length % int(num_splits):
        undefined(f"{length} elements cannot be split equally")
    else:
        sizes = (length // int(num_splits),) * int(num_splits)
    if sum(sizes) != length or min(sizes) < 0:
        undefined(f"parts of {list(sizes)} do not make up {length} elements")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], int(axis)))


@operator("tile", moves=True)
def tile(x: Array, reps: Any) -> Array:
    times = axis_list(reps)
    if len(times) != x.ndim:
        undefined(f"{list(times)} repetitions do not fit an input of rank {x.ndim}")
    return np.tile(x, times)


@operator("reverse", moves=True)
def reverse(x: Array, axes: Any = None) -> Array:
    return np.flip(x, None if axes is None else axis_list(axes))


@operator("reverse_sequence", moves=True)
def reverse_sequence(x: Array, lengths: Array, seq_axis: Any = 0, batch_axis: Any = 0) -> Array:
    """Reverse the first elements of each sequence, as many as its length says."""
    sequences = np.moveaxis(x, (int(batch_axis), int(seq_axis)), (0, 1)).copy()
    if lengths.shape != (sequences.shape[0],) or (lengths < 0).any() or (lengths > sequences.shape[1]).any():
        undefined(f"lengths {lengths.tolist()} do not fit {sequences.shape[0]} sequences of {sequences.shape[1]}")
    for sequence, length in zip(sequences, lengths, strict=True):
        sequence[: int(length)] = sequence[: int(length)][::-1].copy()
    return np.moveaxis(sequences, (0, 1), (int(batch_axis), int(seq_axis)))


@operator("pad", moves=True)
def pad(x: Array, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> Array:
    """Pad the last axes; ``pad`` holds a begin and an end for each."""
    amounts = np.asarray(pad).reshape(-1, 2).astype(int)
    widths = [(0, 0)] * (x.ndim - len(amounts)) + [(int(b), int(e)) for b, e in amounts]
    if len(widths) != x.ndim or min(min(w) for w in widths) < 0:
        undefined(f"pads {amounts.tolist()} do not fit an input {list(x.shape)}")
    if mode == "constant":
        return np.pad(x, widths, constant_values=x.dtype.type(constant_val))
    if mode not in ("reflect", "replicate"):
        unsupported(f"its mode is '{mode}'")
    limits = [n - 1 if mode == "reflect" else n for n in x.shape]
    if any(max(w) > max(limit, 0) for w, limit in zip(widths, limits, strict=True)):
        undefined(f"pads {amounts.tolist()} are wider than mode '{mode}' admits for {list(x.shape)}")
    return np.pad(x, widths, "reflect" if mode == "reflect" else "edge")


@operator("depth_to_space", moves=True)
def depth_to_space(x: Array, block_size: Any) -> Array:
    """Channels into blocks; the block's position is the slowest part of the channel."""
    n, c, h, w = x.shape
    b = int(block_size)
    return x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operator("space_to_depth", moves=True)
def space_to_depth(x: Array, block_size: Any) -> Array:
    """Blocks into channels; the block's position is the slowest part of the channel."""
    n, c, h, w = x.shape
    b = int(block_size)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operator("pixel_shuffle", moves=True)
def pixel_shuffle(x: Array, upscale_factor: Any) -> Array:
    """Channels into blocks; the block's position is the fastest part of the channel."""
    n, c, h, w = x.shape
    b = int(upscale_factor)
    return x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (b * b), h * b, w * b)


@operator("pixel_unshuffle", moves=True)
def pixel_unshuffle(x: Array, downscale_factor: Any) -> Array:
    """Blocks into channels; the block's position is the fastest part of the channel."""
    n, c, h, w = x.shape
    b = int(downscale_factor)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 1, 3, 5, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operator("space_to_batch", moves=True)
def space_to_batch(x: Array, block_shape: Any, paddings: Any) -> Array:
    """Blocks into the batch; the block's position is the slowest part of the batch."""
    by, bx = axis_list(block_shape)
    x = np.pad(x, [(0, 0), (0, 0), *(tuple(map(int, p)) for p in np.asarray(paddings))])
    n, c, h, w = x.shape
    return x.reshape(n, c, h // by, by, w // bx, bx).transpose(3, 5, 0, 1, 2, 4).reshape(n * by * bx, c, h // by, w // bx)


@operator("batch_to_space", moves=True)
def batch_to_space(x: Array, block_shape: Any, crops: Any) -> Array:
    """The inverse of ``space_to_batch``, with crops for its pads."""
    by, bx = axis_list(block_shape)
    n, c, h, w = x.shape
    y = x.reshape(by, bx, n // (by * bx), c, h, w).transpose(2, 3, 4, 0, 5, 1).reshape(n // (by * bx), c, h * by, w * bx)
    (top, bottom), (left, right) = (tuple(map(int, p)) for p in np.asarray(crops))
    return y[:, :, top : h * by - bottom, left : w * bx - right]


@operator("sliding_windows", moves=True)
def sliding_windows(x: Array, axis: Any, size: Any, stride: Any = 1) -> Array:
    """Every window along an axis; the window's elements follow the axis."""
    place = int(axis) % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, int(size), place)
    index = [slice(None)] * windows.ndim
    index[place] = slice(None, None, int(stride))
    return np.ascontiguousarray(np.moveaxis(windows[tuple(index)], -1, place + 1))


@operator("shape", moves=True)
def shape(x: Array) -> Array:
    return np.array(x.shape, np.int32)
