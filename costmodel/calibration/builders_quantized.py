"""Builders of quantised operators, written as QuantizeLinear and DequantizeLinear around plain ones, as quantisers write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recipe import Sketch, builder

Sizes = Mapping[str, Any]


def _scale(sketch: Sketch, value: float = 0.02) -> str:
    return sketch.weight((), np.float32, value)


def _zero(sketch: Sketch, dtype: Any) -> str:
    return sketch.weight((), dtype, 128 if np.dtype(dtype) == np.uint8 else 0)


def _narrow_input(sketch: Sketch, shape: tuple[int, ...]) -> str:
    """An input of bytes as floating-point numbers."""
    data = sketch.feed(shape, np.uint8)
    return sketch.add("DequantizeLinear", [data, _scale(sketch), _zero(sketch, np.uint8)])


def _narrow_weight(sketch: Sketch, shape: tuple[int, ...], channels: int = 1, axis: int = 0) -> str:
    data = sketch.weight(shape, np.int8)
    if channels == 1:
        return sketch.add("DequantizeLinear", [data, _scale(sketch, 0.01), _zero(sketch, np.int8)])
    scales, zeros = sketch.weight((channels,), np.float32, np.full(channels, 0.01)), sketch.weight((channels,), np.int8, np.zeros(channels))
    return sketch.add("DequantizeLinear", [data, scales, zeros], axis=axis)


def _bias(sketch: Sketch, channels: int) -> str:
    scales = sketch.weight((channels,), np.float32, np.full(channels, 2e-4))
    zeros = sketch.weight((channels,), np.int32, np.zeros(channels))
    return sketch.add("DequantizeLinear", [sketch.weight((channels,), np.int32, np.arange(channels)), scales, zeros], axis=0)


def _narrow_result(sketch: Sketch, value: str) -> None:
    sketch.result(sketch.add("QuantizeLinear", [value, _scale(sketch, 0.1), _zero(sketch, np.uint8)]), np.uint8)


@builder("q-matmul")
def _matmul(sketch: Sketch, sizes: Sizes) -> None:
    left = _narrow_input(sketch, (*sizes.get("batch", ()), sizes["m"], sizes["k"]))
    if sizes.get("free"):
        right = _narrow_input(sketch, (*sizes.get("batch", ()), sizes["k"], sizes["n"]))
    else:
        right = _narrow_weight(sketch, (sizes["k"], sizes["n"]))
    _narrow_result(sketch, sketch.add("MatMul", [left, right]))


@builder("q-dynamic")
def _dynamic(sketch: Sketch, sizes: Sizes) -> None:
    """Activations quantised while running, as dynamic quantisation writes it."""
    data = sketch.feed((sizes["m"], sizes["k"]))
    narrow = sketch.add("DynamicQuantizeLinear", [data], outputs=3)
    weight = [sketch.weight((sizes["k"], sizes["n"]), np.int8), _zero(sketch, np.int8)]
    product = sketch.add("MatMulInteger", [narrow, weight[0], f"{narrow}_2", weight[1]])
    scale = sketch.add("Mul", [f"{narrow}_1", _scale(sketch)])
    wide = sketch.add("Cast", [product], to=1)
    sketch.result(sketch.add("Mul", [wide, scale]))


@builder("q-conv")
def _conv(sketch: Sketch, sizes: Sizes) -> None:
    k, groups, filters = sizes["k"], sizes.get("groups", 1), sizes["f"]
    data = _narrow_input(sketch, (1, sizes["c"], sizes["size"], sizes["size"]))
    weight = _narrow_weight(sketch, (filters, sizes["c"] // groups, k, k), filters)
    step = [sizes.get("stride", 1)] * 2
    operands = [data, weight, _bias(sketch, filters)]
    value = sketch.add("Conv", operands, group=groups, strides=step, pads=[k // 2] * 4, kernel_shape=[k, k])
    if sizes.get("activation"):
        value = sketch.add(sizes["activation"], [value])
    _narrow_result(sketch, value)


@builder("q-blocks")
def _blocks(sketch: Sketch, sizes: Sizes) -> None:
    """Convolutions in a row, with bytes between them: runtimes may keep channels last throughout."""
    channels, k = sizes["c"], sizes["k"]
    groups = channels if sizes.get("depthwise") else 1
    value = _narrow_input(sketch, (1, channels, sizes["size"], sizes["size"]))
    for index in range(sizes.get("repeat", 3)):
        weight = _narrow_weight(sketch, (channels, channels // groups, k, k), channels)
        before = value
        operands = [value, weight, _bias(sketch, channels)]
        value = sketch.add("Conv", operands, group=groups, pads=[k // 2] * 4, kernel_shape=[k, k])
        narrow = sketch.add("QuantizeLinear", [value, _scale(sketch, 0.1), _zero(sketch, np.uint8)])
        value = sketch.add("DequantizeLinear", [narrow, _scale(sketch, 0.1), _zero(sketch, np.uint8)])
        if sizes.get("residual"):
            value = sketch.add("Add", [value, before])
            narrow = sketch.add("QuantizeLinear", [value, _scale(sketch, 0.1), _zero(sketch, np.uint8)])
            value = sketch.add("DequantizeLinear", [narrow, _scale(sketch, 0.1), _zero(sketch, np.uint8)])
        if index == sizes.get("repeat", 3) - 1:
            _narrow_result(sketch, value)


@builder("q-binary")
def _binary(sketch: Sketch, sizes: Sizes) -> None:
    shape = (1, sizes["elements"])
    _narrow_result(sketch, sketch.add(sizes["op"], [_narrow_input(sketch, shape), _narrow_input(sketch, shape)]))


@builder("q-unary")
def _unary(sketch: Sketch, sizes: Sizes) -> None:
    _narrow_result(sketch, sketch.add(sizes["op"], [_narrow_input(sketch, (1, sizes["elements"]))]))


@builder("q-pool")
def _pool(sketch: Sketch, sizes: Sizes) -> None:
    data = _narrow_input(sketch, (1, sizes["c"], sizes["size"], sizes["size"]))
    _narrow_result(sketch, sketch.add("GlobalAveragePool", [data]))


@builder("quantize")
def _quantize(sketch: Sketch, sizes: Sizes) -> None:
    shape, op = (1, sizes["elements"]), sizes["op"]
    if "channels" in sizes:  # weights with a scale for every channel along an axis, as they stay where a kernel computes in floats
        rows, axis = sizes["channels"], sizes["axis"]
        across = (rows, sizes["elements"] // rows) if axis == 0 else (sizes["elements"] // rows, rows)
        sketch.result(_narrow_weight(sketch, across, rows, axis))
    elif op == "QuantizeLinear":
        _narrow_result(sketch, sketch.feed(shape))
    elif op == "DequantizeLinear":
        sketch.result(_narrow_input(sketch, shape))
    else:
        narrow = sketch.add("DynamicQuantizeLinear", [sketch.feed(shape)], outputs=3)
        sketch.result(narrow, np.uint8)


@builder("q-block-matmul")
def _block_matmul(sketch: Sketch, sizes: Sizes) -> None:
    """Weights of four bits with a scale per 32."""
    k, n, group = sizes["k"], sizes["n"], 32
    data = sketch.feed((sizes["m"], k))
    packed = sketch.weight((n, k // group, group // 2), np.uint8)
    scales = sketch.weight((n * (k // group),), np.float32, np.full(n * (k // group), 0.02))
    result = sketch.add("MatMulNBits", [data, packed, scales], "com.microsoft", K=k, N=n, bits=4, block_size=group)
    sketch.result(result)
