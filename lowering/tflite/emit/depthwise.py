"""Depthwise convolutions, of so many channels at a time as the nearest cache holds with the filters.

XNNPACK computes all channels of one position after another. Filters that do not stay in the first cache come from the second for every
position: 5 x 5 taps take twice as long from 300 channels on. Slices and a CONCATENATION cost less.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ....ir.graph import Value
from ..emitter import Emitter, activation
from .filters import Target, bias_of, plane_filters
from .geometry import Window, output_sizes, padded, window_options

BYTES = 4  # of a number
HELD_BYTES = 56_000  # filters and pixels under them: from here on cores with 32 to 64 KiB fetch them again for every position
PART_BYTES = 45_000
LANES = 16  # channels that inner kernels compute at once with the longest vectors
FEWEST_POSITIONS = 36  # with fewer the operators themselves cost more


def channel_parts(taps: int, channels: int) -> list[int]:
    """The numbers of channels to compute at a time.

    >>> channel_parts(25, 240), channel_parts(25, 480), channel_parts(25, 816)
    ([240], [160, 160, 160], [208, 208, 208, 192])
    """
    held = 2 * BYTES * taps
    if held * channels <= HELD_BYTES:
        return [channels]
    most = max(PART_BYTES // held // LANES, 1) * LANES
    count = -(-channels // most)
    size = -(-channels // count // LANES) * LANES
    return [size] * (channels // size) + ([channels % size] if channels % size else [])


def depthwise_convolution(e: Emitter, source: int, parameters: tuple[Value, Value | None], window: Window, target: Target) -> None:
    """DEPTHWISE_CONV_2D, or several of them on parts of the channels.

    Args:
        e: the emitter.
        source: ``[batch, height, width, channels]``, not padded.
        parameters: filters ``[channels * multiplier, 1, *kernel]`` and bias.
        window: with its padding.
        target: where the result goes.
    """
    weight, bias = parameters
    channels = e.shape(source)[3]
    assert channels is not None and weight.tensor.static_shape is not None
    count = weight.tensor.static_shape[0]
    parts = _parts(e, source, window) if count == channels and weight.data is not None and (bias is None or bias.data is not None) else []
    if len(parts) < 2:
        operands = (plane_filters(e, weight, (1, 2, 3, 0)), bias_of(e, bias, count))
        write_depthwise(e, source, operands, window, target.tensor, target.activation, count // channels)
        return
    filters = weight.data.numpy().reshape(count, *window.kernel)  # type: ignore[union-attr]
    offsets = np.zeros(count, np.float32) if bias is None else bias.data.numpy()  # type: ignore[union-attr]
    results = []
    for first, last in pairwise(np.cumsum([0, *parts]).tolist()):
        kernel = np.ascontiguousarray(filters[first:last].transpose(1, 2, 0)[None])
        operands = e.constant(kernel, weight.name), e.constant(np.ascontiguousarray(offsets[first:last]))
        y = e.like(source, [*e.shape(target.tensor)[:-1], last - first])
        write_depthwise(e, _slice(e, source, first, last), operands, window, y, target.activation)
        results.append(y)
    e.op("CONCATENATION", results, [target.tensor], axis=3, fusedActivationFunction=activation("NONE"))


def _parts(e: Emitter, source: int, window: Window) -> list[int]:
    positions = output_sizes(window, e.shape(source)[1:3])
    if None in positions or int(np.prod(positions)) < FEWEST_POSITIONS:  # type: ignore[arg-type]
        return []
    channels = e.shape(source)[3]
    assert channels is not None
    return channel_parts(int(np.prod(window.kernel)), channels)


def _slice(e: Emitter, source: int, first: int, last: int) -> int:
    """Some of the channels."""
    y = e.like(source, [*e.shape(source)[:-1], last - first])
    all_but_channels = 0b0111
    bounds = [e.ints(v) for v in ([0, 0, 0, first], [0, 0, 0, last], [1] * 4)]
    e.op("STRIDED_SLICE", [source, *bounds], [y], beginMask=all_but_channels, endMask=all_but_channels)
    return y


def write_depthwise(e: Emitter, source: int, parameters: tuple[int, int], window: Window, y: int, code: int, multiplier: int = 1) -> None:
    """DEPTHWISE_CONV_2D of an operand that is not padded, with filters and bias."""
    source = padded(e, source, window.begins, window.ends, for_convolution=True)
    version = 2 if max(window.dilations) > 1 else 1
    options: dict[str, Any] = {**window_options(window), "depthMultiplier": multiplier, "fusedActivationFunction": code}
    e.op("DEPTHWISE_CONV_2D", [source, *parameters], [y], version, **options)
