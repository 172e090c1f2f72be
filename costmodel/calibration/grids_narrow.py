"""Quantised operators that calibration measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draw import Draw, Rows, copies_for, residence
from .grids_convolutions import convolution_sizes
from .grids_movement import TRANSPOSES
from .recipe import Recipe


def narrow(count: int, draw: Draw) -> Rows:
    """Quantised operators."""
    for index in range(count):
        which = index % 12
        if which in (0, 1, 2):
            m, n, k = draw.size(1, 512, 16), draw.size(16, 2048, 32), draw.size(16, 2048, 32)
            while m * n * k > 4e8:
                m = max(1, m // 2)
            kind = ("q-matmul", "q-dynamic", "q-matmul")[which]
            copies = min(copies_for(1.0 * n * k, residence(index // 12), m * n * k), 24)
            yield Recipe(kind, {"m": m, "n": n, "k": k}, copies, "all", "gemm-i8")
        elif which == 3:
            rows, size = draw.size(8, 256, 16), draw.size(16, 128, 16)
            m, n, k = (rows, rows, size) if index // 12 % 2 else (rows, size, rows)
            sizes = {"batch": [1, draw.size(1, 12, 4)], "m": m, "n": n, "k": k, "free": True}
            yield Recipe("q-matmul", sizes, 1, "all", "gemm-i8")
        elif which in (4, 5, 6):
            k = (1, 3, 1)[which - 4]
            inputs, outputs, size, stride = convolution_sizes(draw, k)
            copies = min(copies_for(inputs * outputs * k * k, residence(index // 12) / 4), 12)
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
                "quantize", {"op": op, "elements": total}, min(copies_for(5.0 * total, residence(index // 36)), 12), "all", "quantize"
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
            yield Recipe("quantize", sizes, min(copies_for(5.0 * total, residence(again)), 24), "basic", "quantize")
        elif which == 2:
            shape = (1, draw.channels(8, 512), draw.size(5, 112, 7), draw.size(5, 112, 7))
            while shape[1] * shape[2] * shape[3] > 1 << 20:
                shape = (1, max(8, shape[1] // 2), shape[2], shape[3])
            perm = TRANSPOSES[(1, 2, 0)[again % 3]]
            copies = min(copies_for(2.0 * float(np.prod(shape)), residence(again) / 4), 16)
            yield Recipe("transpose", {"shape": list(shape), "perm": list(perm), "dtype": "uint8"}, copies, "all", "movement")
        else:
            yield Recipe(
                "q-conv", {"k": 1, "c": draw.channels(16, 1024), "f": draw.channels(16, 1024), "size": 1, "stride": 1}, 1, "all", "conv-i8"
            )
