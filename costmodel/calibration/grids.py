"""The sizes that calibration measures, per class of kernels. None of them is taken from a real model.

Sizes are drawn evenly on a logarithmic scale by a seeded generator and snapped to round numbers about half of the time, since kernels
treat remainders differently. Copies make a graph's operands exceed the caches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .builders_networks import networks
from .recipe import Recipe

HOT, WARM, LARGE, COLD, HUGE = 0, 6 << 20, 14 << 20, 80 << 20, 220 << 20  # bytes that the operands of all copies take at least
MOST_COPIES = 48
LONGEST = 1.5e9  # multiply-accumulates of one graph
Rows = Iterator[Recipe]


class Draw:
    """Seeded sizes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def size(self, low: int, high: int, unit: int = 8) -> int:
        """A size on a logarithmic scale; a multiple of the unit in two of three cases."""
        value = math.exp(self.random.uniform(math.log(low), math.log(high + 0.999)))
        if self.random.random() < 2 / 3 and value >= unit:
            return int(min(max(round(value / unit) * unit, low), high))
        return int(min(max(value, low), high))

    def channels(self, low: int = 8, high: int = 1024) -> int:
        """Channels: multiples of 8, mostly of 16, rarely anything else."""
        value = math.exp(self.random.uniform(math.log(low), math.log(high + 0.999)))
        unit = (16, 16, 16, 8, 8, 1)[int(self.random.integers(0, 6))]
        return int(min(max(round(value / unit) * unit, low), high))

    def one_of(self, options: tuple[Any, ...]) -> Any:
        """One of some options."""
        return options[int(self.random.integers(0, len(options)))]


def copies_for(bytes_of_one: float, wanted: float, macs: float = 0.0) -> int:
    """Copies of an operator that together touch so many bytes, within the limits of a graph."""
    if wanted <= 0:
        return 1
    most = MOST_COPIES if macs <= 0 else max(1, min(MOST_COPIES, int(LONGEST / macs)))
    return int(min(max(1, math.ceil(wanted / max(bytes_of_one, 1))), most))


def _residence(index: int) -> float:
    return (HOT, COLD, WARM, HOT, LARGE)[index % 5]


def overheads(count: int, draw: Draw) -> Rows:
    """What a run, a node, a view and arithmetic on shapes cost."""
    for nodes in (1, 2, 4, 8, 16, 32, 64):
        yield Recipe("run", {"nodes": nodes}, focus="overhead")
    for groups, nodes, k in ((4, 20, 512), (8, 20, 384), (8, 40, 512), (4, 60, 768), (3, 90, 1024), (6, 30, 640), (16, 20, 1024)):
        yield Recipe("cold", {"groups": groups, "nodes": nodes, "k": k, "m": 1 if groups % 3 else 4}, focus="overhead")
    for nodes in (2, 4, 8, 16, 32, 48):
        yield Recipe("view", {"nodes": nodes, "n": 16}, focus="view")
        yield Recipe("shape", {"nodes": nodes}, focus="control")


def products(count: int, draw: Draw) -> Rows:
    """Matrix products with constants."""
    for index in range(count):
        m, n, k = draw.size(2, 1024, 16), draw.size(8, 3072, 32), draw.size(16, 3072, 32)
        while m * n * k > 4e8:
            m = max(2, m // 2)
        copies = copies_for(4.0 * (m * k + k * n + m * n), _residence(index), m * n * k)
        if index % 4 == 3:
            yield Recipe("gemm", {"m": m, "n": n, "k": k}, copies, focus="gemm")
            continue
        extra = {"bias": True} if index % 2 else {}
        yield Recipe("matmul", {"m": m, "n": n, "k": k, **extra}, copies, focus="gemm")


def batched(count: int, draw: Draw) -> Rows:
    """Products of activations, as attention computes them."""
    for index in range(count):
        heads, rows, size = draw.size(1, 16, 4), draw.size(8, 384, 16), draw.size(16, 128, 32)
        m, n, k = (rows, rows, size) if index % 2 else (rows, size, rows)
        copies = copies_for(4.0 * heads * (m * k + k * n + m * n), _residence(index // 2), heads * m * n * k)
        yield Recipe("matmul", {"batch": [1, heads], "m": m, "n": n, "k": k, "free": True}, copies, focus="gemm")


def vectors(count: int, draw: Draw) -> Rows:
    """Products of one row."""
    for index in range(count):
        n, k = draw.size(16, 4096, 32), draw.size(16, 4096, 32)
        copies = copies_for(4.0 * n * k, HUGE if index % 8 == 6 and n * k > 1.2e6 else _residence(index), n * k)
        if index % 3 == 2:
            yield Recipe("gemm", {"m": 1, "n": n, "k": k}, copies, focus="gemv")
        elif index % 9 == 1:
            m = draw.size(8, 2048, 16)
            yield Recipe("matmul", {"m": m, "n": 1, "k": k}, copies_for(4.0 * m * k, _residence(index)), focus="gemv")
        else:
            yield Recipe("matmul", {"m": 1, "n": n, "k": k}, copies, focus="gemv")


def _conv_sizes(draw: Draw, k: int, most: float = 3e8) -> tuple[int, int, int, int]:
    """Channels, filters, size and stride with a bounded number of multiply-accumulates."""
    while True:
        inputs, outputs, size = draw.channels(), draw.channels(), draw.size(6, 120, draw.one_of((4, 7, 10)))
        stride = draw.one_of((1, 1, 1, 2))
        if 2e5 < inputs * outputs * k * k * (size / stride) ** 2 < most and size >= k:
            return inputs, outputs, size, stride


def _oblong(draw: Draw, index: int, size: int) -> dict[str, int]:
    """Every fourth image is wider or narrower than high."""
    return {"width": max(4, int(size * draw.one_of((0.3, 0.5, 2.0, 4.0))))} if index % 4 == 3 else {}


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


ACTIVATIONS = ("", "", "", "Relu", "Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh")


def convolutions(count: int, draw: Draw, taps: tuple[int, ...], level: str) -> Rows:
    """Dense convolutions, alone and with an activation."""
    for index in range(count):
        k = taps[index % len(taps)]
        inputs, outputs, size, stride = _conv_sizes(draw, k)
        activation = draw.one_of(ACTIVATIONS) if level == "all" else ""
        one = 4.0 * (inputs * size * size + outputs * (size // stride) ** 2 + inputs * outputs * k * k)
        copies = copies_for(one, _residence(index // len(taps)), inputs * outputs * k * k * (size / stride) ** 2)
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
        yield Recipe("conv", sizes, min(copies_for(one, _residence(index // 2), macs), 24), level, "conv")


def few_channels(count: int, draw: Draw, level: str) -> Rows:
    """Convolutions of few filters or few channels, as heads of detectors have them."""
    for index in range(count):
        k, size = draw.one_of((1, 3, 5)), draw.size(8, 120, 8)
        inputs, outputs = draw.size(2, 64, 8), draw.one_of((1, 2, 4, 6, 12, 24))
        inputs, outputs = (inputs, outputs) if index % 3 else (outputs, inputs)
        sizes = {"k": k, "c": inputs, "f": outputs, "size": size, **_oblong(draw, index, size)}
        copies = copies_for(4.0 * (inputs + outputs) * size * size, _residence(index // 3), inputs * outputs * k * k * size * size)
        yield Recipe("conv", sizes, min(copies, 16), level, "conv")


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
        copies = copies_for(4.0 * inputs * outputs, _residence(index))
        yield Recipe("conv", {"k": 1, "c": inputs, "f": outputs, "size": 1, "batch": draw.one_of((1, 1, 2))}, copies, level, "conv")


def chains(count: int, draw: Draw) -> Rows:
    """One to six convolutions between two changes of layout."""
    for index in range(count):
        k, inputs, outputs, size = (1, 1, 3)[index % 3], draw.channels(8, 256), draw.channels(8, 256), draw.size(6, 112, 8)
        while inputs * outputs * k * k * size * size > 1e8:
            size = max(6, size // 2)
        sizes = {"k": k, "c": inputs, "f": outputs, "size": size, "repeat": (1, 2, 4, 6)[index % 4]}
        copies = copies_for(4.0 * (inputs + outputs) * size * size, _residence(index // 4), inputs * outputs * k * k * size * size)
        yield Recipe("chain", sizes, min(copies, 6), "all", "conv")


def depthwise(count: int, draw: Draw, level: str) -> Rows:
    """One filter per channel."""
    for index in range(count):
        k, channels, size = (3, 5, 3, 1, 7, 3, 5)[index % 7], draw.channels(16), draw.size(6, 120, draw.one_of((4, 7, 10)))
        while channels * size * size > 2e6:
            channels = max(16, channels // 2)
        copies = copies_for(8.0 * channels * size * size, _residence(index // 2))
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
        copies = copies_for(4.0 * (channels + filters) * size * size, _residence(index // 2))
        yield Recipe("conv", {"k": k, "c": channels, "f": filters, "groups": groups, "size": size}, min(copies, 12), level, "conv-grouped")


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


def attentions(count: int, draw: Draw) -> Rows:
    """Fused attention."""
    for index in range(count):
        rows = 1 if index % 4 == 3 else draw.size(8, 320, 16)
        keys = draw.size(16, 512, 16) if rows == 1 else rows
        sizes = {"heads": draw.size(1, 16, 4), "size": draw.one_of((32, 64, 80)), "queries": rows, "keys": keys}
        yield Recipe("attention", sizes, (1, 6)[index % 2], "all", "attention")


NORMALIZATIONS = ("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "BatchNormalization",
                  "InstanceNormalization", "SkipSimplifiedLayerNormalization")  # fmt: skip


def normalizations(count: int, draw: Draw) -> Rows:
    """Normalisations over rows."""
    for index in range(count):
        op = NORMALIZATIONS[(0, 1, 0, 2, 0, 3, 4, 5)[index % 8]]
        rows, columns = draw.size(1, 1024, 16), draw.size(32, 1536, 32)
        columns = max(columns // 16, 1) * 16 if op == "BatchNormalization" else columns
        copies = copies_for(8.0 * rows * columns, _residence(index // 2))
        yield Recipe("normalize", {"op": op, "rows": rows, "columns": columns}, min(copies, 24), "all", "normalization")


def softmaxes(count: int, draw: Draw) -> Rows:
    """Softmax over the last axis, sometimes over an inner one."""
    for index in range(count):
        rows, columns = draw.size(1, 2048, 16), draw.size(8, 1024, 16)
        copies = copies_for(8.0 * rows * columns, _residence(index))
        yield Recipe("softmax", {"rows": rows, "columns": columns}, min(copies, 24), "all", "softmax")


UNARIES = ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "HardSwish", "Gelu", "Sqrt", "Clip", "Neg", "LeakyRelu", "HardSigmoid", "QuickGelu",
           "FastGelu", "Silu", "Pow2", "Pow3", "Cos", "Log", "Softplus", "Abs", "Not", "Elu", "Reciprocal", "Floor")  # fmt: skip
BINARIES = ("Add", "Mul", "Sub", "Div", "Max", "Pow", "Equal", "Greater", "And")


def elementwise(count: int, draw: Draw) -> Rows:
    """Functions of one operand; the frequent ones more often."""
    for index in range(count):
        op = UNARIES[index % len(UNARIES)] if index % 2 else UNARIES[(index // 2) % 9]
        total = draw.size(64, 1 << 20, 256)
        copies = copies_for(8.0 * total, _residence(index // 2))
        yield Recipe("unary", {"op": op, "elements": total}, min(copies, 24), "all", "elementwise")
    for source, target in (("float32", "bool"), ("bool", "float32"), ("int64", "float32"), ("float32", "int64"), ("int64", "int32")):
        for total in (256, 8192, 65536, 524288):
            yield Recipe("cast", {"elements": total, "source": source, "target": target}, 1, "all", "elementwise")


def binaries(count: int, draw: Draw) -> Rows:
    """Functions of two operands in all forms of broadcasting."""
    for index in range(count):
        op = ("Add", "Mul", "Add", "Mul", "Add", "Sub", "Div")[index % 7]
        form = ("same", "channel", "row", "scalar", "same")[index % 5]
        rows, columns = draw.size(4, 1024, 16), draw.size(16, 3136, 16)
        while rows * columns > 1 << 20:
            columns = max(16, columns // 2)
        copies = copies_for((12.0 if form == "same" else 8.0) * rows * columns, _residence(index // 2))
        yield Recipe("binary", {"op": op, "rows": rows, "columns": columns, "form": form}, min(copies, 16), "all", "elementwise")
    for op in ("Equal", "Greater", "And", "Pow", "Max"):
        dtype = "bool" if op == "And" else "float32"
        for rows in (4, 64, 512):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": 256, "dtype": dtype}, 1, "all", "elementwise")
    for op, dtype in (("Add", "int64"), ("Mul", "int64"), ("Add", "int32"), ("Equal", "int32"), ("Equal", "int64"), ("Greater", "int64")):
        for rows in (4, 64, 512):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": 256, "dtype": dtype}, 1, "all", "elementwise")
    for index in range(max(count // 6, 2)):
        rows, columns = draw.size(4, 1024, 16), draw.size(64, 1536, 64)
        yield Recipe("bias", {"rows": rows, "columns": columns}, (1, 4)[index % 2], "all", "elementwise")
    for total in (200, 1000, 8000, 40_000, 400_000):
        yield Recipe("where", {"elements": total, "run": 64}, 1, "all", "elementwise")
    for op, dtype in (("Equal", "int32"), ("Equal", "int64"), ("Add", "float32"), ("Mul", "float32"), ("Greater", "int64")):
        for rows, columns in ((8, 64), (64, 250), (300, 512), (1500, 600)):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": columns, "dtype": dtype, "form": "outer"}, 1, "all", "elementwise")


TRANSPOSES = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (2, 0, 3, 1), (0, 2, 1, 3))


def movements(count: int, draw: Draw) -> Rows:
    """Copies of all kinds."""
    for index in range(count):
        which, again = index % 12, index // 12
        rows, columns = draw.size(2, 512, 8), draw.size(8, 2048, 16)
        while rows * columns > 1 << 19:
            columns = max(8, columns // 2)
        copies = min(copies_for(8.0 * rows * columns, _residence(again)), 16)
        if which in (0, 1, 2, 3):
            shape = (1, rows, draw.size(2, 16, 4), max(columns // 8, 2))
            perm = TRANSPOSES[(again + which) % len(TRANSPOSES)]
            yield Recipe("transpose", {"shape": list(shape), "perm": list(perm)}, copies, "all", "movement")
        elif which in (4, 5):
            sizes = {"rows": rows, "columns": columns, "axis": 1 + again % 2, "parts": (2, 3, 4)[again % 3]}
            yield Recipe("concat", sizes, copies, "all", "movement")
        elif which == 6:
            sizes = {"rows": rows // 2 * 2, "columns": columns // 2 * 2, "axis": 1 + again % 2}
            yield Recipe("split", sizes, copies, "all", "movement")
        elif which in (7, 8):
            sizes = {"rows": rows, "columns": columns, "axis": 1 + again % 2, "step": (1, 1, 1, 2)[again % 4]}
            yield Recipe("slice", sizes, copies, "all", "movement")
        elif which == 9:
            entries = draw.size(64, 16384, 64)
            yield Recipe("gather", {"entries": entries, "rows": rows, "columns": min(columns, 1024)}, 1, "all", "movement")
        elif which == 10:
            yield Recipe("expand", {"rows": rows, "times": 4, "columns": max(columns // 4, 4)}, copies, "all", "movement")
        else:
            forms = (("pad", {}), ("resize", {"mode": "nearest"}), ("rearrange", {"op": "DepthToSpace"}), ("resize", {"mode": "linear"}),
                     ("pad", {}), ("rearrange", {"op": "SpaceToDepth"}))  # fmt: skip
            kind, extra = forms[again % len(forms)]
            yield Recipe(kind, {"c": max(4, draw.size(4, 96, 8) // 4 * 4), "size": 2 * draw.size(4, 32, 4), **extra}, 1, "all", "movement")


def reductions(count: int, draw: Draw) -> Rows:
    """Reductions over rows and columns, pooling."""
    for index in range(count // 5):
        op, batch = ("ReduceMean", "ReduceSum", "ReduceMax")[index % 3], (1, draw.size(2, 32, 4))[index // 3 % 2]
        sizes = {"op": op, "batch": batch, "rows": draw.size(8, 512, 8), "columns": draw.size(16, 512, 16), "last": False}
        yield Recipe("reduce", sizes, (1, 4)[index // 6 % 2], "all", "reduction")
    for index in range(count - count // 5):
        which, again = index % 8, index // 8
        rows, columns = draw.size(2, 768, 16), draw.size(16, 2048, 16)
        while rows * columns > 1 << 20:
            columns = max(16, columns // 2)
        copies = min(copies_for(4.0 * rows * columns, _residence(again)), 16)
        if which in (0, 1, 2):
            op = ("ReduceMean", "ReduceSum", "ReduceMean", "ReduceMax")[again % 4]
            yield Recipe("reduce", {"op": op, "rows": rows, "columns": columns, "last": which != 1}, copies, "all", "reduction")
        elif which == 3:
            op = ("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool")[again % 3]
            yield Recipe("pool", {"op": op, "c": rows, "size": draw.size(4, 48, 1)}, min(copies, 6), "basic", "reduction")
        elif which in (4, 5):
            op, k = (("MaxPool", 3), ("AveragePool", 2), ("MaxPool", 2), ("AveragePool", 3))[again % 4]
            channels, size = draw.channels(8, 256), draw.size(8, 100, 4)
            sizes = {"op": op, "c": channels, "size": size, "k": k, "stride": (2, 1)[again % 2]}
            yield Recipe("pool", sizes, (1, 4)[which - 4], "basic", "reduction")
        elif which == 6:
            op, k = (("MaxPool", 3), ("AveragePool", 3), ("MaxPool", 2))[again % 3]
            sizes = {"op": op, "c": 16 * draw.size(2, 24, 1), "size": draw.size(8, 80, 4), "k": k, "stride": 1 + again % 2}
            yield Recipe("pools", sizes, 1, "all", "reduction")
        else:
            yield Recipe("argmax", {"rows": rows, "columns": columns}, 1, "all", "reduction")


def local_responses(count: int, draw: Draw) -> Rows:
    """Normalisation over neighbouring channels."""
    for index in range(count):
        sizes = {"c": draw.channels(16, 256), "size": draw.size(8, 64, 4)}
        yield Recipe("lrn", sizes, (1, 3)[index % 2], "all", "normalization")


def recurrents(count: int, draw: Draw) -> Rows:
    """Recurrent layers."""
    for index in range(count):
        op, steps = ("LSTM", "GRU")[index % 3 == 2], draw.size(1, 64, 8)
        sizes = {"op": op, "steps": steps, "inputs": draw.size(16, 256, 16), "hidden": draw.size(16, 256, 16)}
        yield Recipe("recurrent", sizes, (1, 8)[index % 2], "all", "recurrent")


def narrow(count: int, draw: Draw) -> Rows:
    """Quantised operators."""
    for index in range(count):
        which = index % 12
        if which in (0, 1, 2):
            m, n, k = draw.size(1, 512, 16), draw.size(16, 2048, 32), draw.size(16, 2048, 32)
            while m * n * k > 4e8:
                m = max(1, m // 2)
            kind = ("q-matmul", "q-dynamic", "q-matmul")[which]
            copies = min(copies_for(1.0 * n * k, _residence(index // 12), m * n * k), 24)
            yield Recipe(kind, {"m": m, "n": n, "k": k}, copies, "all", "gemm-i8")
        elif which == 3:
            rows, size = draw.size(8, 256, 16), draw.size(16, 128, 16)
            m, n, k = (rows, rows, size) if index // 12 % 2 else (rows, size, rows)
            sizes = {"batch": [1, draw.size(1, 12, 4)], "m": m, "n": n, "k": k, "free": True}
            yield Recipe("q-matmul", sizes, 1, "all", "gemm-i8")
        elif which in (4, 5, 6):
            k = (1, 3, 1)[which - 4]
            inputs, outputs, size, stride = _conv_sizes(draw, k)
            copies = min(copies_for(inputs * outputs * k * k, _residence(index // 12) / 4), 12)
            sizes = {"k": k, "c": inputs, "f": outputs, "size": size, "stride": stride}
            yield Recipe("q-conv", {**sizes, **({"activation": "Relu"} if index % 24 < 12 else {})}, copies, "all", "conv-i8")
        elif which == 7:
            channels = draw.size(16, 512, 16)
            sizes = {"k": (3, 5)[index // 12 % 2], "c": channels, "f": channels, "groups": channels, "size": draw.size(7, 56, 4)}
            yield Recipe("q-conv", {**sizes, "stride": draw.one_of((1, 2))}, 1, "all", "conv-i8")
        elif which == 8:
            extra: dict[str, Any] = ({"residual": True}, {"depthwise": True}, {})[index // 12 % 3]
            sizes = {"c": draw.size(16, 128, 16), "size": draw.size(7, 48, 4), "k": (3, 1)[index // 12 % 2], **extra}
            yield Recipe("q-blocks", sizes, 1, "all", "conv-i8")
        elif which == 9:
            yield Recipe(
                "q-binary", {"op": ("Add", "Mul")[index // 12 % 2], "elements": draw.size(256, 1 << 19, 64)}, 1, "all", "elementwise-i8"
            )
        elif which == 10:
            op = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")[index // 12 % 3]
            total = draw.size(256, 1 << 20, 64)
            yield Recipe(
                "quantize", {"op": op, "elements": total}, min(copies_for(5.0 * total, _residence(index // 36)), 12), "all", "quantize"
            )
        else:
            op = ("Sigmoid", "Softmax", "LeakyRelu")[index // 12 % 3]
            yield Recipe("q-unary", {"op": op, "elements": draw.size(64, 1 << 16, 64)}, 1, "all", "elementwise-i8")


def narrow_forms(count: int, draw: Draw) -> Rows:
    """Scales per channel, changes of layout of bytes, gates."""
    for index in range(count):
        which, again = index % 4, index // 4
        if which < 2:
            channels, total = draw.size(16, 2048, 16), draw.size(1 << 10, 1 << 20, 64)
            sizes = {"op": "DequantizeLinear", "elements": max(total // channels, 1) * channels, "channels": channels, "axis": which}
            yield Recipe("quantize", sizes, min(copies_for(5.0 * total, _residence(again)), 24), "basic", "quantize")
        elif which == 2:
            shape = (1, draw.channels(8, 512), draw.size(5, 112, 7), draw.size(5, 112, 7))
            while shape[1] * shape[2] * shape[3] > 1 << 20:
                shape = (1, max(8, shape[1] // 2), shape[2], shape[3])
            perm = TRANSPOSES[(1, 2, 0)[again % 3]]
            copies = min(copies_for(2.0 * float(np.prod(shape)), _residence(again) / 4), 16)
            yield Recipe("transpose", {"shape": list(shape), "perm": list(perm), "dtype": "uint8"}, copies, "all", "movement")
        else:
            yield Recipe(
                "q-conv", {"k": 1, "c": draw.channels(16, 1024), "f": draw.channels(16, 1024), "size": 1, "stride": 1}, 1, "all", "conv-i8"
            )


def small_forms(count: int, draw: Draw) -> Rows:
    """Attention over few rows, channels that are shuffled, sums."""
    for index in range(count):
        which = index % 3
        if which == 0:
            rows = draw.size(4, 96, 8)
            sizes = {"heads": draw.size(1, 12, 4), "size": draw.one_of((16, 32, 64)), "queries": rows, "keys": rows}
            yield Recipe("attention", sizes, (1, 4)[index // 3 % 2], "all", "attention")
        elif which == 1:
            groups, channels, area = draw.one_of((2, 3, 4, 8)), draw.size(8, 136, 4), draw.size(5, 56, 7) ** 2
            while groups * channels * area > 1 << 20:
                channels = max(4, channels // 2)
            sizes = {"shape": [1, groups, channels, area], "perm": [0, 2, 1, 3]}
            yield Recipe("transpose", sizes, (1, 5)[index // 3 % 2], "all", "movement")
        else:
            sizes = {"op": "Sum", "rows": draw.size(4, 512, 16), "columns": draw.size(16, 1024, 16)}
            yield Recipe("binary", sizes, (1, 4)[index // 3 % 2], "all", "elementwise")


def uneven_groups(count: int, draw: Draw, level: str) -> Rows:
    """Pointwise convolutions of few groups whose channels do not fill whole vectors."""
    for index in range(count):
        groups, inner, size = draw.one_of((2, 3, 4, 8)), draw.size(10, 160, 200), draw.size(5, 56, 7)
        while groups * inner * inner * size * size > 4e7:
            size = max(5, size // 2)
        channels = groups * inner
        copies = min(copies_for(8.0 * channels * size * size, _residence(index // 2)), 8)
        yield Recipe("conv", {"k": 1, "c": channels, "f": channels, "groups": groups, "size": size}, copies, level, "conv-grouped")


def standard_attentions(count: int, draw: Draw) -> Rows:
    """Attention as ONNX defines it."""
    for index in range(count):
        rows, heads, size = draw.size(8, 384, 16), draw.size(1, 12, 4), draw.one_of((16, 32, 64))
        sizes = {"heads": heads, "size": size, "queries": rows, "opset": 23}
        yield Recipe("standard-attention", sizes, (1, 3)[index % 2], "all", "attention")


GENERATORS: tuple[tuple[Callable[..., Rows], int, int, tuple[Any, ...]], ...] = (
    (overheads, 13, 13, ()),
    (products, 22, 84, ()),
    (batched, 10, 36, ()),
    (vectors, 14, 64, ()),
    (convolutions, 28, 60, ((1, 3, 1, 3, 5), "all")),
    (convolutions, 22, 44, ((1, 3, 3, 5), "basic")),
    (first_layers, 14, 44, ("all",)),
    (first_layers, 6, 16, ("basic",)),
    (depthwise, 24, 72, ("all",)),
    (depthwise, 24, 72, ("basic",)),
    (grouped, 8, 20, ("all",)),
    (grouped, 5, 12, ("basic",)),
    (rows_of_blocks, 16, 32, ()),
    (transposed, 3, 8, ()),
    (attentions, 5, 20, ()),
    (normalizations, 16, 40, ()),
    (softmaxes, 6, 24, ()),
    (elementwise, 36, 110, ()),
    (binaries, 21, 77, ()),
    (movements, 36, 204, ()),
    (reductions, 40, 160, ()),
    (recurrents, 4, 18, ()),
    (narrow, 24, 132, ()),
    (few_channels, 8, 30, ("all",)),
    (few_channels, 8, 24, ("basic",)),
    (gates, 5, 16, ("all",)),
    (gates, 4, 12, ("basic",)),
    (lines, 6, 28, ("all",)),
    (lines, 4, 14, ("basic",)),
    (chains, 12, 48, ()),
    (shallow, 9, 42, ()),
    (local_responses, 5, 10, ()),
    (narrow_forms, 16, 60, ()),
    (small_forms, 9, 45, ()),
    (uneven_groups, 4, 18, ("all",)),
    (standard_attentions, 4, 16, ()),
)


def recipes(quick: bool = False, narrow_types: bool = True) -> list[Recipe]:
    """All graphs of a calibration, each once, in a fixed order.

    Args:
        quick: few of each.
        narrow_types: quantised operators too.
    """
    found: dict[str, Recipe] = {}
    for position, (generate, few, many, arguments) in enumerate(GENERATORS):
        if generate in (narrow, narrow_forms) and not narrow_types:
            continue
        for recipe in generate(few if quick else many, Draw(1000 + position), *arguments):
            found.setdefault(recipe.key, recipe)
    found.update((recipe.key, recipe) for recipe in networks(24 if quick else 72))
    return list(found.values())
