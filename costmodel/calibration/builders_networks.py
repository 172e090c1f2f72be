"""Synthetic networks of random form: how kernels do among others, and how far errors carry over to whole models. None is a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recipe import Recipe, Sketch, builder

Sizes = Mapping[str, Any]
FORMS = ("plain", "separable", "residual", "attention", "perceptron", "branches", "inverted", "decoder")
MOST_MACS = 8e8  # of one network
EDITION = 2  # raised when the networks change, so that kept measurements are not taken for theirs


def networks(count: int) -> list[Recipe]:
    """So many networks of all forms."""
    return [
        Recipe(
            "network", {"form": FORMS[i % len(FORMS)], "seed": i, "edition": EDITION}, 1, ("all", "basic")[i // len(FORMS) % 2], "network"
        )
        for i in range(count)
    ]


class _Budget:
    """Multiply-accumulates that a network may still add."""

    def __init__(self) -> None:
        self.left = MOST_MACS

    def take(self, macs: float) -> bool:
        self.left -= macs
        return self.left > 0


@builder("network")
def _network(sketch: Sketch, sizes: Sizes) -> None:
    random = np.random.default_rng(sizes["seed"])
    form = sizes["form"]
    if form in ("attention", "decoder"):
        _transformer(sketch, random, form == "decoder")
    elif form == "perceptron":
        _perceptron(sketch, random)
    else:
        _images(sketch, random, form)


def _one_of(random: np.random.Generator, options: tuple[Any, ...]) -> Any:
    return options[int(random.integers(0, len(options)))]


def _perceptron(sketch: Sketch, random: np.random.Generator) -> None:
    rows, width = int(random.integers(1, 40)), int(random.integers(2, 40)) * 32
    value = sketch.feed((rows, width))
    for _ in range(int(random.integers(3, 9))):
        wider = int(random.integers(4, 64)) * 32
        value = sketch.add("Gemm", [value, sketch.weight((wider, width)), sketch.weight((wider,))], transB=1)
        value, width = sketch.add(_one_of(random, ("Relu", "Tanh", "Sigmoid")), [value]), wider
    sketch.result(value)


def _conv(sketch: Sketch, value: str, inputs: int, filters: int, k: int, stride: int = 1, groups: int = 1) -> str:
    operands = [value, sketch.weight((filters, inputs // groups, k, k)), sketch.weight((filters,))]
    return sketch.add("Conv", operands, group=groups, strides=[stride] * 2, pads=[k // 2] * 4, kernel_shape=[k, k])


def _activated(sketch: Sketch, value: str, kind: str) -> str:
    if kind == "Clip":
        return sketch.add("Clip", [value, sketch.weight((), values=np.float32(0)), sketch.weight((), values=np.float32(6))])
    if kind == "Swish":
        return sketch.add("Mul", [value, sketch.add("Sigmoid", [value])])
    return sketch.add(kind, [value])


def _squeezed(sketch: Sketch, value: str, channels: int, few: int) -> str:
    """A gate for every channel, from the means of all."""
    gate = sketch.add("Relu", [_conv(sketch, sketch.add("GlobalAveragePool", [value]), channels, few, 1)])
    return sketch.add("Mul", [value, sketch.add(("Sigmoid", "HardSigmoid")[few % 2], [_conv(sketch, gate, few, channels, 1)])])


def _images(sketch: Sketch, random: np.random.Generator, form: str) -> None:
    size, batch = int(random.integers(4, 15)) * 16, _one_of(random, (1, 1, 2))
    value = sketch.feed((batch, 3, size, size))
    channels = int(random.integers(1, 4)) * 16
    kind = _one_of(random, ("Relu", "Relu", "Clip", "HardSwish", "Swish"))
    value = _activated(sketch, _conv(sketch, value, 3, channels, _one_of(random, (3, 3, 5, 7)), 2), kind)
    area = batch * (size // 2) ** 2
    budget = _Budget()
    for stage in range(4):
        wider = int(channels * random.uniform(1.1, 2.2)) // 8 * 8
        for block in range(int(random.integers(1, 5))):
            step = 2 if block == 0 and stage else 1
            area = area // step**2
            if not budget.take(area * wider * (channels * 9 + (wider * 9 if form == "residual" else 0)) / _saving(form)):
                break
            value = _block(sketch, random, value, form, (channels, wider, step, kind))
            channels = wider
    value = sketch.add("Flatten", [sketch.add("GlobalAveragePool", [value])])
    classes = int(random.integers(1, 32)) * 32
    sketch.result(sketch.add("Gemm", [value, sketch.weight((classes, channels)), sketch.weight((classes,))], transB=1))


def _saving(form: str) -> float:
    return {"separable": 8.0, "inverted": 2.0, "branches": 1.8}.get(form, 1.0)


def _block(sketch: Sketch, random: np.random.Generator, value: str, form: str, described: tuple[int, int, int, str]) -> str:
    inputs, wider, step, kind = described
    before = value
    if form == "separable":
        value = _activated(sketch, _conv(sketch, value, inputs, inputs, _one_of(random, (3, 5)), step, inputs), kind)
        return _activated(sketch, _conv(sketch, value, inputs, wider, 1), kind)
    if form == "inverted":
        inner = inputs * int(random.integers(2, 7))
        value = _activated(sketch, _conv(sketch, value, inputs, inner, 1), kind)
        value = _activated(sketch, _conv(sketch, value, inner, inner, _one_of(random, (3, 3, 5)), step, inner), kind)
        value = _squeezed(sketch, value, inner, max(inner // 4, 8)) if random.random() < 0.4 else value
        value = _conv(sketch, value, inner, wider, 1)
        return sketch.add("Add", [value, before]) if inputs == wider and step == 1 else value
    if form == "branches":
        left = sketch.add("Relu", [_conv(sketch, value, inputs, wider // 2, 1, step)])
        right = sketch.add("Relu", [_conv(sketch, value, inputs, wider - wider // 2, 3, step)])
        return sketch.add("Concat", [left, right], axis=1)
    value = _activated(sketch, _conv(sketch, value, inputs, wider, 3, step), kind)
    if form == "residual":
        value = _conv(sketch, value, wider, wider, 3)
        value = sketch.add("Add", [value, before]) if inputs == wider and step == 1 else value
        value = sketch.add("Relu", [value])
    return value


def _transformer(sketch: Sketch, random: np.random.Generator, decoder: bool) -> None:
    rows, heads, size = int(random.integers(1, 9 if decoder else 20)) * 8, int(random.integers(2, 11)), _one_of(random, (32, 48, 64))
    width, times = heads * size, _one_of(random, (2, 3, 4))
    budget = _Budget()
    value = sketch.feed((rows, width))
    if decoder:
        entries = int(random.integers(4, 80)) * 128
        indices = sketch.feed((rows,), np.int64, sketch.random.integers(0, entries, rows))
        value = sketch.add("Add", [value, sketch.add("Gather", [sketch.weight((entries, width)), indices], axis=0)])

    def normal(x: str) -> str:
        if decoder:
            return sketch.add("SimplifiedLayerNormalization", [x, sketch.weight((width,))], axis=-1)
        return sketch.add("LayerNormalization", [x, sketch.weight((width,)), sketch.weight((width,))], axis=-1)

    def dense(x: str, inputs: int, outputs: int) -> str:
        product = sketch.add("MatMul", [x, sketch.weight((inputs, outputs))])
        return product if decoder else sketch.add("Add", [product, sketch.weight((outputs,))])

    def split(x: str, perm: list[int]) -> str:
        shaped = sketch.add("Reshape", [x, sketch.weight((3,), np.int64, [rows, heads, size])])
        return sketch.add("Transpose", [shaped], perm=perm)

    for _ in range(int(random.integers(2, 9))):
        if not budget.take(rows * width**2 * (4 + (3 if decoder else 2) * times) + 2 * rows**2 * width):
            break
        inner = normal(value)
        query, key, content = (dense(inner, width, width) for _ in range(3))
        scores = sketch.add("MatMul", [split(query, [1, 0, 2]), split(key, [1, 2, 0])])
        scores = sketch.add("Softmax", [sketch.add("Mul", [scores, sketch.weight((), values=np.float32(0.1))])], axis=-1)
        mixed = sketch.add("Transpose", [sketch.add("MatMul", [scores, split(content, [1, 0, 2])])], perm=[1, 0, 2])
        mixed = sketch.add("Reshape", [mixed, sketch.weight((2,), np.int64, [rows, width])])
        value = sketch.add("Add", [value, dense(mixed, width, width)])
        inner = normal(value)
        wide = dense(inner, width, times * width)
        if decoder:
            wide = sketch.add("Mul", [_activated(sketch, wide, "Swish"), dense(inner, width, times * width)])
        else:
            wide = sketch.add("Gelu", [wide], "com.microsoft")
        value = sketch.add("Add", [value, dense(wide, times * width, width)])
    if decoder:
        value = sketch.add("MatMul", [normal(value), sketch.weight((width, int(random.integers(2, 80)) * 128))])
    sketch.result(value)
