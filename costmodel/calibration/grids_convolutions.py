"""Convolutions that calibration measures."""

from __future__ import annotations

import math
from typing import Any

from .draw import COLD, HUGE, LONGEST, MOST_COPIES, Draw, Rows, copies_for, residence
from .recipe import Recipe


def convolution_sizes(draw: Draw, k: int, most: float = 3e8) -> tuple[int, int, int, int]:
    """Channels, filters, size and stride with a bounded number of multiply-accumulates."""
    while True:
        inputs, outputs, size = draw.channels(), draw.channels(), draw.size(6, 120, draw.one_of((4, 7, 10)))
        stride = draw.one_of((1, 1, 1, 2))
        if 2e5 < inputs * outputs * k * k * (size / stride) ** 2 < most and size >= k:
            return inputs, outputs, size, stride


def _oblong(draw: Draw, index: int, size: int) -> dict[str, int]:
    """Every fourth image is wider or narrower than high."""
    return {"width": max(4, int(size * draw.one_of((0.3, 0.5, 2.0, 4.0))))} if index % 4 == 3 else {}


ACTIVATIONS = ("", "", "", "Relu", "Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh")


def convolutions(count: int, draw: Draw, taps: tuple[int, ...], level: str) -> Rows:
    """Dense convolutions, alone and with an activation."""
    for index in range(count):
        k = taps[index % len(taps)]
        inputs, outputs, size, stride = convolution_sizes(draw, k)
        activation = draw.one_of(ACTIVATIONS) if level == "all" else ""
        one = 4.0 * (inputs * size * size + outputs * (size // stride) ** 2 + inputs * outputs * k * k)
        copies = copies_for(one, residence(index // len(taps)), inputs * outputs * k * k * (size / stride) ** 2)
        sizes = {"k": k, "c": inputs, "f": outputs, "size": size, "stride": stride, **_oblong(draw, index, size)}
        yield Recipe("conv", {**sizes, **({"activation": activation} if activation else {})}, copies, level, "conv")


def first_layers(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions of three or one channels, as models begin; in models, they find nothing in the near caches."""
    for index in range(count):
        k, size = draw.one_of((3, 5, 7)), draw.size(40, 256, 16)
        channels, filters, stride = (3, 1)[index % 4 == 3], draw.size(8, 96, 8), draw.one_of((1, 2, 2))
        sizes = {"k": k, "c": channels, "f": filters, "size": size, "stride": stride, "batch": draw.one_of((1, 1, 2))}
        one = 4.0 * (channels * size**2 + filters * (size / stride) ** 2)
        macs = channels * filters * k * k * (size / stride) ** 2
        yield Recipe("conv", sizes, min(copies_for(one, residence(index // 2), macs), 24), level, "conv")


def few_channels(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions of few filters or few channels, as heads of detectors have them."""
    for index in range(count):
        k, size = draw.one_of((1, 3, 5)), draw.size(8, 120, 8)
        inputs, outputs = draw.size(2, 64, 8), draw.one_of((1, 2, 4, 6, 12, 24))
        inputs, outputs = (inputs, outputs) if index % 3 else (outputs, inputs)
        sizes = {"k": k, "c": inputs, "f": outputs, "size": size, **_oblong(draw, index, size)}
        copies = copies_for(4.0 * (inputs + outputs) * size * size, residence(index // 3), inputs * outputs * k * k * size * size)
        yield Recipe("conv", sizes, min(copies, 16), level, "conv")


def shallow(count: int, draw: Draw) -> Rows:
    """Large images of few channels, as models have them after their first layer: little arithmetic for the bytes that pass."""
    for index in range(count):
        inputs, outputs, size = 8 * draw.size(1, 8, 1), 8 * draw.size(1, 8, 1), draw.size(40, 160, 8)
        repeat = (1, 2, 4, 3)[index % 4]
        if index % 3 == 2:
            extra = {"activation": "Relu"} if index % 2 else {}
            yield Recipe(
                "blocks",
                {"c": outputs, "size": size, "k": (3, 5)[index % 2], "depthwise": True, "repeat": repeat, **extra},
                1,
                "all",
                "conv",
            )
        else:
            sizes = {"k": 1, "c": inputs, "f": outputs, "size": size, "repeat": repeat, "batch": draw.one_of((1, 1, 2))}
            yield Recipe("chain", sizes, (1, 3)[index // 3 % 2], "all", "conv")


def lines(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions along one axis, as models of sound and text have them."""
    for index in range(count):
        k, inputs, outputs, length = draw.one_of((3, 5, 7, 9)), draw.channels(16, 512), draw.channels(16, 512), draw.size(32, 2048, 16)
        while inputs * outputs * k * length > 3e8:
            length = max(16, length // 2)
        sizes = {"k": k, "c": inputs, "f": outputs, "length": length, "batch": draw.one_of((1, 1, 2))}
        form = ({}, {"upright": True}, {}, {"upright": True, "open": True})[index % 4]
        yield Recipe("conv", {**sizes, **form}, (1, 1, 6)[index % 3], level, "conv")


def gates(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions of images of one pixel, as gates of channels and classifiers have them."""
    for index in range(count):
        inputs, outputs = draw.channels(8, 1280), draw.channels(8, 1280)
        copies = copies_for(4.0 * inputs * outputs, residence(index))
        yield Recipe("conv", {"k": 1, "c": inputs, "f": outputs, "size": 1, "batch": draw.one_of((1, 1, 2))}, copies, level, "conv")


def chains(count: int, draw: Draw) -> Rows:
    """One to six convolutions between two changes of layout."""
    for index in range(count):
        k, inputs, outputs, size = (1, 1, 3)[index % 3], draw.channels(8, 256), draw.channels(8, 256), draw.size(6, 112, 8)
        while inputs * outputs * k * k * size * size > 1e8:
            size = max(6, size // 2)
        sizes = {"k": k, "c": inputs, "f": outputs, "size": size, "repeat": (1, 2, 4, 6)[index % 4]}
        copies = copies_for(4.0 * (inputs + outputs) * size * size, residence(index // 4), inputs * outputs * k * k * size * size)
        yield Recipe("chain", sizes, min(copies, 6), "all", "conv")


def depthwise(count: int, draw: Draw, level: str) -> Rows:
    """One filter per channel."""
    for index in range(count):
        k, channels, size = (3, 5, 3, 1, 7, 3, 5)[index % 7], draw.channels(16), draw.size(6, 120, draw.one_of((4, 7, 10)))
        while channels * size * size > 2e6:
            channels = max(16, channels // 2)
        copies = copies_for(8.0 * channels * size * size, residence(index // 2))
        sizes = {"k": k, "c": channels, "f": channels, "groups": channels, "size": size, "stride": draw.one_of((1, 1, 2))}
        activation = draw.one_of(ACTIVATIONS) if level == "all" else ""
        sizes |= {**_oblong(draw, index, size), **({"activation": activation} if activation else {})}
        yield Recipe("conv", sizes, min(copies, 16), level, "conv-depthwise")


def grouped(count: int, draw: Draw, level: str) -> Rows:
    """Several channels per group."""
    for index in range(count):
        groups, inner = draw.one_of((2, 3, 4, 8, 32)), draw.size(4, 64, 8)
        size, k = draw.size(7, 56, 4), (1, 3)[index % 2]
        channels, filters = groups * inner, groups * draw.size(4, 64, 8)
        if channels * filters // groups * k * k * size * size > 3e8:
            size = 7
        copies = copies_for(4.0 * (channels + filters) * size * size, residence(index // 2))
        yield Recipe("conv", {"k": k, "c": channels, "f": filters, "groups": groups, "size": size}, min(copies, 12), level, "conv-grouped")


def uneven_groups(count: int, draw: Draw, level: str) -> Rows:
    """Pointwise convolutions of few groups whose channels do not fill whole vectors."""
    for index in range(count):
        groups, inner, size = draw.one_of((2, 3, 4, 8)), draw.size(10, 160, 200), draw.size(5, 56, 7)
        while groups * inner * inner * size * size > 4e7:
            size = max(5, size // 2)
        channels = groups * inner
        copies = min(copies_for(8.0 * channels * size * size, residence(index // 2)), 8)
        yield Recipe("conv", {"k": 1, "c": channels, "f": channels, "groups": groups, "size": size}, copies, level, "conv-grouped")


def rows_of_blocks(count: int, draw: Draw) -> Rows:
    """Convolutions in a row that share a layout."""
    for index in range(count):
        channels, size, k = draw.channels(16, 320), draw.size(6, 64, 4), (1, 3, 3)[index % 3]
        while channels**2 * k * k * size * size > 1.5e8:
            size = max(7, size // 2)
        extras: tuple[dict[str, Any], ...] = ({"activation": "Relu"}, {"residual": True}, {"depthwise": True}, {"activation": "Sigmoid"},
                  {"pool": "MaxPool"}, {"pool": "GlobalAveragePool"}, {"pool": "AveragePool"}, {"activation": "HardSwish"})  # fmt: skip
        yield Recipe("blocks", {"c": channels, "size": size, "k": k, **extras[index % len(extras)]}, 1, "all", "conv")


def transposed(count: int, draw: Draw) -> Rows:
    """Transposed convolutions."""
    for _ in range(count):
        sizes = {"c": draw.size(8, 128, 16), "f": draw.size(8, 128, 16), "size": draw.size(5, 48, 4), "k": draw.one_of((2, 3, 4))}
        yield Recipe("deconv", sizes, 1, "all", "conv-transposed")


def deep(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions of many channels on small images, as models end: weights that come from memory, and arithmetic to hide them behind."""
    for index in range(count):
        k, inputs, outputs, size = (1, 3, 3)[index % 3], draw.channels(192, 1024), draw.channels(128, 768), draw.size(5, 24, 7)
        while inputs * outputs * k * k * size * size > 5e8:
            inputs = max(192, inputs // 2) if size < 8 else inputs
            size = max(5, size - 3)
        wanted = (0, COLD, COLD, HUGE)[index % 4]
        size = min(size, 8) if wanted == HUGE else size
        copies = max(math.ceil(wanted / (4.0 * inputs * outputs * k * k)), 1)
        copies = min(copies, max(1, int(2 * LONGEST / (inputs * outputs * k * k * size * size))), MOST_COPIES)
        yield Recipe("conv", {"k": k, "c": inputs, "f": outputs, "size": size}, copies, level, "conv")


def normalized(count: int, draw: Draw) -> Rows:
    """Normalisations and activations that no convolution takes in, concatenations behind convolutions, shuffled channels."""
    for index in range(count):
        if index % 3 == 2:
            sizes = {"groups": draw.one_of((2, 3, 4, 8)), "c": draw.size(8, 80, 4), "size": draw.size(5, 56, 7)}
            while sizes["groups"] * sizes["c"] ** 2 * sizes["size"] ** 2 > 4e7:
                sizes["size"] = max(5, sizes["size"] // 2)
            yield Recipe("shuffle", sizes, 1, "all", "conv-grouped")
            continue
        sizes = {"c": draw.channels(16, 512), "f": draw.one_of((16, 32, 48, 64)), "size": draw.size(6, 56, 7), "repeat": 2 + index % 4}
        extra = ({}, {"joined": False}, {"activation": "Sigmoid"})[index // 3 % 3]
        yield Recipe("normalized-chain", {**sizes, **extra}, 1, "all", "conv")
