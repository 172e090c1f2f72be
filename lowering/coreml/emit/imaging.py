"""Resizing of images, and blocks moved between channels and space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.resize import Resize
from ....ir.ops.vision import DepthToSpace, SpaceToDepth
from .context import Emission, ints
from .translation import FLOATS, MOVABLE, Obstacle, every, translates

_MODES = ("UNALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "DEFAULT")
_MAX_ENTRIES = 1 << 22


def _factors(node: Node) -> tuple[list[int], list[float | None]] | None:
    """The resized axes and their scale factors (None where only sizes are stated); None when neither is known."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resize) and x is not None and x.rank is not None
    axes = [a % x.rank for a in op.axes] if op.axes else list(range(x.rank))
    scales, sizes = node.operand(2), node.operand(3)
    if scales is not None and scales.data is not None and scales.shape != (0,):
        return axes, [float(s) for s in scales.data.numpy()]
    if sizes is not None and sizes.ints is not None:
        return axes, [None] * len(axes)
    return None


def _stretched(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, Resize)
    if op.coordinate_transformation_mode == "tf_crop_and_resize":
        return Obstacle("attribute", "crops while resizing")
    if _factors(node) is None:
        return Obstacle("dynamic-parameter", "neither scales nor sizes are known")
    x, y = node.inputs[0], node.output
    if x is None or not x.tensor.is_static or not y.tensor.is_static:
        return Obstacle("dynamic-shape", "the sizes have to be known")
    return None


def _changed(node: Node) -> list[tuple[int, int, int, float | None]]:
    """Axis, length, new length and factor of each axis that is resized."""
    found = _factors(node)
    assert found is not None
    x, y = node.inputs[0].tensor.static_shape, node.output.tensor.static_shape  # type: ignore[union-attr]
    assert x is not None and y is not None
    return [(a, x[a], y[a], f) for a, f in zip(*found, strict=True) if not (f == 1 or f is None and x[a] == y[a])]


def _alone(op: Resize, array: Any, wanted: int, factor: float | None) -> Any:
    """The operator applied to the last axis of a matrix."""
    scales = None if factor is None else np.array([factor], np.float32)
    return replace(op, axes=(1,)).evaluate(array, None, scales, None if factor is not None else np.array([wanted]))


def _nearest(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, Resize)
    return None if op.mode == "nearest" else Obstacle("attribute", "another mode")


def _repetition(node: Node) -> tuple[int, int] | None:
    """How often rows and columns are repeated, whatever their number; None when that is not all that happens."""
    op, x, found = node.op, node.inputs[0], _factors(node)
    assert isinstance(op, Resize) and x is not None
    if op.mode != "nearest" or op.coordinate_transformation_mode == "tf_crop_and_resize" or found is None or x.rank not in (3, 4, 5):
        return None
    repeats = [1] * x.rank
    for axis, factor in zip(*found, strict=True):
        if factor is None or factor < 1 or factor != int(factor):
            return None
        repeats[axis] = int(factor)
    if any(r != 1 for r in repeats[:-2]) or any(not _repeats(op, r) for r in repeats[-2:]):
        return None
    return repeats[-2], repeats[-1]


def _repeats(op: Resize, factor: int) -> bool:
    sizes = (1, 2, 3, 7, 50)
    found = (_alone(op, np.arange(n, dtype=np.float64)[None], n * factor, float(factor))[0] for n in sizes)
    return factor == 1 or all(np.array_equal(array, np.arange(n * factor) // factor) for n, array in zip(sizes, found, strict=True))


def _whole_factors(node: Node) -> Obstacle | None:
    if _repetition(node) is None:
        return Obstacle("dynamic-shape", "sizes have to be known unless rows and columns are repeated")
    return None


@translates(Resize, when=_whole_factors)
def repeated(e: Emission, node: Node) -> None:
    """Rows and columns repeated, of any number of them."""
    found, x = _repetition(node), e.operand(node)
    assert found is not None
    if found == (1, 1):
        e.bind(node, e.mil.identity(x=x))
        return
    height, width = (np.float32(n) for n in found)
    e.bind(node, e.mil.upsample_nearest_neighbor(x=x, scale_factor_height=height, scale_factor_width=width))


@translates(Resize, dtypes=MOVABLE, when=every(_nearest, _stretched))
def nearest(e: Emission, node: Node) -> None:
    """The nearest neighbour: MIL's upsampling where sizes repeat every element equally often, else elements taken by index."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Resize)
    changed = _changed(node)
    rank = len(x.shape)
    maps = {a: _alone(op, np.arange(n, dtype=np.float64)[None], m, f)[0].astype(np.int64) for a, n, m, f in changed}
    repeats = {a: m // n for a, n, m, _ in changed if m % n == 0 and np.array_equal(maps[a], np.arange(m) // (m // n))}
    if changed and rank >= 3 and len(repeats) == len(changed) and all(a >= rank - 2 for a in maps) and e.kind(x) in ("fp32", "fp16"):
        height, width = (np.float32(repeats.get(a, 1)) for a in (rank - 2, rank - 1))
        e.bind(node, e.mil.upsample_nearest_neighbor(x=x, scale_factor_height=height, scale_factor_width=width))
        return
    kind = e.kind(x)
    x = e.cast(x, "int32") if kind == "bool" else x
    for axis, positions in maps.items():
        x = e.mil.gather(x=x, indices=ints(positions), axis=axis)
    e.bind(node, e.cast(x, kind) if kind == "bool" else x if maps else e.mil.identity(x=x))


def _sampling_mode(node: Node) -> str | None:
    """MIL's sampling mode that weights every element as the operator does."""
    op = node.op
    assert isinstance(op, Resize)
    for mode in _MODES:
        if all(_agrees(op, mode, n, m, f) for _, n, m, f in _changed(node)):
            return mode
    return None


def _agrees(op: Resize, mode: str, length: int, wanted: int, factor: float | None) -> bool:
    if length * wanted > _MAX_ENTRIES:
        return False
    own = _alone(op, np.eye(length), wanted, factor)
    return bool(np.allclose(own, _weights(mode, length, wanted), atol=1e-6))


def _weights(mode: str, length: int, wanted: int) -> Any:
    """``[length, wanted]``: the weights of MIL's bilinear sampling (documentation of resize_bilinear)."""
    steps = np.arange(wanted, dtype=np.float64)
    if mode == "STRICT_ALIGN_CORNERS":
        places = steps * (length - 1) / (wanted - 1) if wanted > 1 else np.zeros(1)
    elif mode == "DEFAULT":
        places = steps * length / wanted
    else:
        places = (steps + 0.5) * length / wanted - 0.5
    places = np.clip(places, 0, length - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, length - 1)
    result = np.zeros((length, wanted))
    np.add.at(result, (below, np.arange(wanted)), 1 - (places - below))
    np.add.at(result, (above, np.arange(wanted)), places - below)
    return result


def _linear(node: Node) -> Obstacle | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resize) and x is not None and x.rank is not None
    if op.mode != "linear" or x.rank < 3 or any(a < x.rank - 2 for a, *_ in _changed(node)):
        return Obstacle("attribute", "MIL interpolates the last two axes linearly")
    if _sampling_mode(node) is None:
        return Obstacle("attribute", "MIL has no sampling mode with these weights")
    return None


@translates(Resize, dtypes=FLOATS, when=every(_stretched, _linear))
def bilinear(e: Emission, node: Node) -> None:
    """Bilinear interpolation in the sampling mode whose weights are those of the operator."""
    x, mode = e.operand(node), _sampling_mode(node)
    height, width = (int(n) for n in node.output.tensor.static_shape[-2:])  # type: ignore[index]
    if not _changed(node):
        e.bind(node, e.mil.identity(x=x))
        return
    e.bind(node, e.mil.resize_bilinear(x=x, target_size_height=height, target_size_width=width, sampling_mode=mode))


def _known_channels(node: Node) -> Obstacle | None:
    shape: Sequence[Any] = node.inputs[0].shape or ()  # type: ignore[union-attr]
    if len(shape) == 4 and all(isinstance(d, int) for d in shape[1:]):
        return None
    return Obstacle("dynamic-shape", "channels and sizes have to be known")


@translates(DepthToSpace, when=_known_channels)
def depth_to_space(e: Emission, node: Node) -> None:
    """MIL's depth_to_space has the block as the slowest part of the channel (DCR), its pixel_shuffle as the fastest (CRD)."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, DepthToSpace)
    if op.mode == "DCR":
        e.bind(node, e.mil.depth_to_space(x=x, block_size=op.blocksize))
    else:
        e.bind(node, e.mil.pixel_shuffle(x=x, upscale_factor=op.blocksize))


@translates(SpaceToDepth, when=_known_channels)
def space_to_depth(e: Emission, node: Node) -> None:
    """The inverse, with the block as the slowest part of the channel."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, SpaceToDepth)
    if op.mode == "DCR":
        e.bind(node, e.mil.space_to_depth(x=x, block_size=op.blocksize))
    else:
        e.bind(
            node,
            e.mil.reshape(x=_blocks(e, x, op.blocksize), shape=ints([d if isinstance(d, int) else -1 for d in node.output.shape or ()])),
        )


def _blocks(e: Emission, x: Any, b: int) -> Any:
    """Channels, then the position in the block: two transposes of five dimensions."""
    n, c, h, w = (int(d) if isinstance(d, int | np.integer) else -1 for d in x.shape)
    rows = e.mil.transpose(x=e.mil.reshape(x=x, shape=ints([n, c, h // b, b, w])), perm=[0, 1, 3, 2, 4])
    columns = e.mil.reshape(x=rows, shape=ints([n, c * b, h // b, w // b, b]))
    return e.mil.transpose(x=columns, perm=[0, 1, 4, 2, 3])
