"""Synthetic networks of random form: they tell how far errors of single kernels carry over to whole models. None resembles a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recipe import Recipe, Sketch, builder

Sizes = Mapping[str, Any]
FORMS = ("plain", "separable", "residual", "attention", "perceptron", "branches")


def networks(count: int) -> list[Recipe]:
    """So many networks of all forms."""
    return [
        Recipe("network", {"form": FORMS[i % len(FORMS)], "seed": i}, 1, ("all", "basic")[i // len(FORMS) % 2], "network")
        for i in range(count)
    ]


@builder("network")
def _network(sketch: Sketch, sizes: Sizes) -> None:
    random = np.random.default_rng(sizes["seed"])
    form = sizes["form"]
    if form == "attention":
        _transformer(sketch, random)
    elif form == "perceptron":
        value = sketch.feed((int(random.integers(1, 40)), 256))
        width = 256
        for _ in range(6):
            wider = int(random.integers(4, 40)) * 32
            value = sketch.add("Gemm", [value, sketch.weight((wider, width)), sketch.weight((wider,))], transB=1)
            value, width = sketch.add(("Relu", "Tanh", "Sigmoid")[int(random.integers(0, 3))], [value]), wider
        sketch.result(value)
    else:
        _images(sketch, random, form)


def _conv(sketch: Sketch, value: str, inputs: int, filters: int, k: int, stride: int = 1, groups: int = 1) -> str:
    operands = [value, sketch.weight((filters, inputs // groups, k, k)), sketch.weight((filters,))]
    return sketch.add("Conv", operands, group=groups, strides=[stride] * 2, pads=[k // 2] * 4, kernel_shape=[k, k])


def _images(sketch: Sketch, random: np.random.Generator, form: str) -> None:
    size = int(random.integers(6, 14)) * 16
    value = sketch.feed((1, 3, size, size))
    channels = int(random.integers(1, 4)) * 16
    value = sketch.add("Relu", [_conv(sketch, value, 3, channels, 3, 2)])
    for stage in range(4):
        wider = int(channels * random.uniform(1.3, 2.2)) // 8 * 8
        for block in range(int(random.integers(1, 4))):
            step = 2 if block == 0 and stage else 1
            before, inputs = value, channels
            if form == "separable":
                value = sketch.add("Relu", [_conv(sketch, value, inputs, inputs, (3, 5)[int(random.integers(0, 2))], step, inputs)])
                value = sketch.add(("Relu", "HardSwish")[int(random.integers(0, 2))], [_conv(sketch, value, inputs, wider, 1)])
            elif form == "branches":
                left = sketch.add("Relu", [_conv(sketch, value, inputs, wider // 2, 1, step)])
                right = sketch.add("Relu", [_conv(sketch, value, inputs, wider - wider // 2, 3, step)])
                value = sketch.add("Concat", [left, right], axis=1)
            else:
                value = sketch.add("Relu", [_conv(sketch, value, inputs, wider, 3, step)])
            if form == "residual":
                value = _conv(sketch, value, wider, wider, 3)
                value = sketch.add("Add", [value, before]) if inputs == wider and step == 1 else value
                value = sketch.add("Relu", [value])
            channels = wider
    value = sketch.add("GlobalAveragePool", [value])
    value = sketch.add("Flatten", [value])
    sketch.result(sketch.add("Gemm", [value, sketch.weight((100, channels)), sketch.weight((100,))], transB=1))


def _transformer(sketch: Sketch, random: np.random.Generator) -> None:
    rows, heads, size = int(random.integers(2, 20)) * 8, int(random.integers(2, 9)), 48
    width = heads * size
    value = sketch.feed((rows, width))

    def normal(x: str) -> str:
        return sketch.add("LayerNormalization", [x, sketch.weight((width,)), sketch.weight((width,))], axis=-1)

    def dense(x: str, inputs: int, outputs: int) -> str:
        return sketch.add("Add", [sketch.add("MatMul", [x, sketch.weight((inputs, outputs))]), sketch.weight((outputs,))])

    def split(x: str, perm: list[int]) -> str:
        shaped = sketch.add("Reshape", [x, sketch.weight((3,), np.int64, [rows, heads, size])])
        return sketch.add("Transpose", [shaped], perm=perm)

    for _ in range(3):
        inner = normal(value)
        query, key, content = (dense(inner, width, width) for _ in range(3))
        scores = sketch.add("MatMul", [split(query, [1, 0, 2]), split(key, [1, 2, 0])])
        scores = sketch.add("Softmax", [sketch.add("Mul", [scores, sketch.weight((), values=np.float32(0.1))])], axis=-1)
        mixed = sketch.add("Transpose", [sketch.add("MatMul", [scores, split(content, [1, 0, 2])])], perm=[1, 0, 2])
        mixed = sketch.add("Reshape", [mixed, sketch.weight((2,), np.int64, [rows, width])])
        value = sketch.add("Add", [value, dense(mixed, width, width)])
        wide = dense(normal(value), width, 3 * width)
        value = sketch.add("Add", [value, dense(sketch.add("Gelu", [wide], "com.microsoft"), 3 * width, width)])
    sketch.result(value)
