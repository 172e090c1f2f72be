"""Convolutions of few filters, several neighbouring positions at once.

XNNPACK computes 8 filters at once with vectors of 128 bits and 16 with longer ones; a convolution of one filter uses an eighth or a
sixteenth of them. Positions that lie next to each other in a row can be further filters: one convolution with f times the filters, each
moved along by the stride, and f times the stride writes the same numbers in the same order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .geometry import Window, output_sizes

LANES = (8, 16)  # filters that inner kernels compute at once, by the length of vectors
SLOWEST = 1.05  # time, relative to the plain form, that is tolerated with any length of vectors …
FASTEST = 0.8  # … when this is reached with one


def widening_of(window: Window, spatial: tuple[object, ...], filters: int) -> int:
    """How many positions of a row to compute at once; 1 when that does not pay whatever the processor.

    Args:
        window: over height and width.
        spatial: height and width of the padded operand.
        filters: how many.

    >>> widening_of(Window((3, 3), (1, 1), (1, 1), "SAME", (0, 0), (0, 0)), (32, 32), 1)
    16
    >>> widening_of(Window((3, 3), (1, 1), (1, 1), "SAME", (0, 0), (0, 0)), (32, 32), 8)
    1
    """
    width = output_sizes(window, spatial)[-1]
    if not isinstance(width, int) or not isinstance(spatial[-1], int) or window.dilations[-1] != 1 or filters >= max(LANES):
        return 1
    best, least = 1, FASTEST
    for factor in range(2, max(LANES) // filters + 1):
        if width % factor == 0:
            times = [_relative_time(window, filters, factor, lanes) for lanes in LANES]
            if max(times) <= SLOWEST and min(times) < least:
                best, least = factor, min(times)
    return best


def _relative_time(window: Window, filters: int, factor: int, lanes: int) -> float:
    """Arithmetic with so many positions at once, relative to one, padding to whole vectors included."""
    taps = window.kernel[-1] + (factor - 1) * window.strides[-1]
    return taps * -(-factor * filters // lanes) / (window.kernel[-1] * -(-filters // lanes) * factor)


def widened_window(window: Window, factor: int) -> Window:
    """The window that covers the windows of neighbouring positions; its padding is theirs."""
    taps = window.kernel[-1] + (factor - 1) * window.strides[-1]
    return replace(window, kernel=(*window.kernel[:-1], taps), strides=(*window.strides[:-1], factor * window.strides[-1]))


def widened_filters(weight: np.ndarray, factor: int, stride: int) -> np.ndarray:
    """Filters ``[O, I, H, W]``, each moved along by the stride so many times: ``[factor * O, I, H, W + (factor - 1) * stride]``."""
    filters, channels, height, width = weight.shape
    wide = np.zeros((factor, filters, channels, height, width + (factor - 1) * stride), weight.dtype)
    for place in range(factor):
        wide[place, ..., place * stride : place * stride + width] = weight
    return wide.reshape(factor * filters, *wide.shape[2:])
