"""Architectures of the published measurements as graphs without weights: constants that take no memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.costmodel.analysis.llm import LlmConfig, decoder_graph
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant, int64s
from edgec.ir.op import OPS
from edgec.ir.types import TensorType

LLM_KEYS = ("layers", "hidden", "heads", "kv_heads", "intermediate", "vocabulary")


class Builder:
    """A graph that grows by layers; batches are symbolic."""

    def __init__(self, shape: Sequence[int], dtype: DType = DType.FLOAT) -> None:
        self.graph = Graph("network")
        self.dtype = dtype
        self.value = self.graph.add_input("input", TensorType(dtype, (symbol("batch"), *shape)))

    def weight(self, *shape: int) -> Value:
        return constant(np.broadcast_to(DType.FLOAT.numpy.type(0), shape), f"weight_{len(self.graph)}")

    def add(self, name: str, *operands: Value, **attributes: Any) -> Value:
        kind: Any = OPS["", name]
        self.value = self.graph.add(kind(**attributes), *operands)
        return self.value

    def done(self) -> Graph:
        self.graph.set_outputs([self.value], ["output"])
        return self.graph

    # -- layers ------------------------------------------------------------------------------------------------------
    def channels(self, value: Value) -> int:
        shape = value.shape
        assert shape is not None and isinstance(shape[1], int)
        return shape[1]

    def conv(
        self,
        value: Value,
        filters: int,
        size: int | tuple[int, int] = 1,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        act: str = "Relu",
    ) -> Value:
        """Convolution with the padding that keeps the size, batch normalisation folded into it, and an activation."""
        high, wide = size if isinstance(size, tuple) else (size, size)
        strides = stride if isinstance(stride, tuple) else (stride, stride)
        top, left = (high - 1) // 2, (wide - 1) // 2
        kernel = self.weight(filters, self.channels(value) // groups, high, wide)
        pads = (top, left, high - 1 - top, wide - 1 - left)
        found = self.add("Conv", value, kernel, self.weight(filters), group=groups, strides=strides, pads=pads)
        return self.activate(found, act)

    def activate(self, value: Value, act: str) -> Value:
        if act in ("", "none"):
            return value
        if act == "swish":
            return self.add("Mul", value, self.add("Sigmoid", value))
        if act == "hardswish":
            return self.add("HardSwish", value)
        if act == "relu6":
            return self.add("Clip", value, constant(np.float32(0)), constant(np.float32(6)))
        return self.add(act, value)

    def pool(self, value: Value, size: int, stride: int, kind: str = "MaxPool") -> Value:
        before = (size - 1) // 2
        pads = (before, before, size - 1 - before, size - 1 - before)
        return self.add(kind, value, kernel_shape=(size, size), strides=(stride, stride), pads=pads)

    def flatten(self, value: Value) -> Value:
        return self.add("Flatten", value)

    def dense(self, value: Value, outputs: int, act: str = "none") -> Value:
        shape = value.shape
        assert shape is not None and isinstance(shape[-1], int)
        found = self.add("Add", self.add("MatMul", value, self.weight(shape[-1], outputs)), self.weight(outputs))
        return self.activate(found, act)

    def classify(self, value: Value, classes: int) -> Graph:
        self.dense(self.flatten(self.add("GlobalAveragePool", value)), classes)
        return self.done()

    def squeeze(self, value: Value, inner: int, act: str, gate: str) -> Value:
        """Squeeze and excite."""
        width = self.channels(value)
        small = self.conv(self.add("GlobalAveragePool", value), inner, act=act)
        return self.add("Mul", value, self.conv(small, width, act=gate))

    def norm(self, value: Value, width: int) -> Value:
        return self.add("LayerNormalization", value, self.weight(width), self.weight(width))

    def encoder(self, value: Value, layers: int, width: int, heads: int, inner: int, before: bool) -> Value:
        """Transformer layers; the norm lies before or after each part."""
        for _ in range(layers):
            mixed = self.attention(self.norm(value, width) if before else value, width, heads)
            value = self.add("Add", value, mixed)
            value = value if before else self.norm(value, width)
            hidden = self.norm(value, width) if before else value
            hidden = self.dense(self.dense(hidden, inner, "Gelu"), width)
            value = self.add("Add", value, hidden)
            value = value if before else self.norm(value, width)
        return value

    def attention(self, value: Value, width: int, heads: int) -> Value:
        q, k, v = (self.dense(value, width) for _ in range(3))
        return self.dense(self.add("Attention", q, k, v, q_num_heads=heads, kv_num_heads=heads), width)


# -- convolutional networks --------------------------------------------------------------------------------------------
def _resnet(facts: Mapping[str, Any], blocks: Sequence[int], bottleneck: bool) -> Graph:
    build = Builder(facts["input"])
    value = build.pool(build.conv(build.value, 64, 7, 2), 3, 2)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            filters = width * 4 if bottleneck else width
            skip = value if build.channels(value) == filters and stride == 1 else build.conv(value, filters, 1, stride, act="none")
            if bottleneck:
                inner = build.conv(build.conv(build.conv(value, width), width, 3, stride), filters, act="none")
            else:
                inner = build.conv(build.conv(value, width, 3, stride), width, 3, act="none")
            value = build.add("Relu", build.add("Add", inner, skip))
    return build.classify(value, facts["classes"])


def _mobilenet_v1(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    factor = facts.get("width", 1.0)
    value = build.conv(build.value, int(32 * factor), 3, 2, act="relu6")
    plan = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for filters, stride in plan:
        value = build.conv(value, build.channels(value), 3, stride, build.channels(value), "relu6")
        value = build.conv(value, int(filters * factor), act="relu6")
    return build.classify(value, facts["classes"])


def _inverted(
    build: Builder, value: Value, filters: int, grown: int, size: int, stride: int, act: str, squeeze: tuple[int, str, str] | None
) -> Value:
    """The inverted residual block of MobileNetV2 and its heirs."""
    entry, width = value, build.channels(value)
    if grown != width:
        value = build.conv(value, grown, act=act)
    value = build.conv(value, grown, size, stride, grown, act)
    if squeeze is not None:
        value = build.squeeze(value, *squeeze)
    value = build.conv(value, filters, act="none")
    return build.add("Add", entry, value) if stride == 1 and width == filters else value


def _mobilenet_v2(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.conv(build.value, 32, 3, 2, act="relu6")
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for growth, filters, count, stride in plan:
        for index in range(count):
            grown = build.channels(value) * growth
            value = _inverted(build, value, filters, grown, 3, stride if not index else 1, "relu6", None)
    return build.classify(build.conv(value, 1280, act="relu6"), facts["classes"])


V3_LARGE = (  # kernel, expansion, filters, squeeze, activation, stride
    (3, 16, 16, False, "Relu", 1), (3, 64, 24, False, "Relu", 2), (3, 72, 24, False, "Relu", 1), (5, 72, 40, True, "Relu", 2),
    (5, 120, 40, True, "Relu", 1), (5, 120, 40, True, "Relu", 1), (3, 240, 80, False, "hardswish", 2), (3, 200, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1), (3, 184, 80, False, "hardswish", 1), (3, 480, 112, True, "hardswish", 1),
    (3, 672, 112, True, "hardswish", 1), (5, 672, 160, True, "hardswish", 2), (5, 960, 160, True, "hardswish", 1),
    (5, 960, 160, True, "hardswish", 1),
)  # fmt: skip
V3_SMALL = (
    (3, 16, 16, True, "Relu", 2), (3, 72, 24, False, "Relu", 2), (3, 88, 24, False, "Relu", 1), (5, 96, 40, True, "hardswish", 2),
    (5, 240, 40, True, "hardswish", 1), (5, 240, 40, True, "hardswish", 1), (5, 120, 48, True, "hardswish", 1),
    (5, 144, 48, True, "hardswish", 1), (5, 288, 96, True, "hardswish", 2), (5, 576, 96, True, "hardswish", 1),
    (5, 576, 96, True, "hardswish", 1),
)  # fmt: skip


def _mobilenet_v3(facts: Mapping[str, Any], plan: Sequence[Any], last: int, head: int) -> Graph:
    build = Builder(facts["input"])
    value = build.conv(build.value, 16, 3, 2, act="hardswish")
    for size, grown, filters, squeeze, act, stride in plan:
        inner = (max(grown // 4 // 8 * 8, 8), "Relu", "HardSigmoid") if squeeze else None
        value = _inverted(build, value, filters, grown, size, stride, act, inner)
    value = build.conv(value, last, act="hardswish")
    value = build.dense(build.flatten(build.add("GlobalAveragePool", value)), head, "hardswish")
    build.dense(value, facts["classes"])
    return build.done()


def _efficientnet_b0(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.conv(build.value, 32, 3, 2, act="swish")
    plan = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
    for growth, filters, count, stride, size in plan:
        for index in range(count):
            width = build.channels(value)
            squeeze = (max(width // 4, 1), "swish", "Sigmoid")
            value = _inverted(build, value, filters, width * growth, size, stride if not index else 1, "swish", squeeze)
    return build.classify(build.conv(value, 1280, act="swish"), facts["classes"])


INCEPTION = (  # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (), (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), (), (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)  # fmt: skip


def _inception_v1(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.pool(build.conv(build.value, 64, 7, 2), 3, 2)
    value = build.pool(build.conv(build.conv(value, 64), 192, 3), 3, 2)
    for plan in INCEPTION:
        if not plan:
            value = build.pool(value, 3, 2)
            continue
        one, reduce3, three, reduce5, five, project = plan
        branches = [
            build.conv(value, one),
            build.conv(build.conv(value, reduce3), three, 3),
            build.conv(build.conv(value, reduce5), five, 5),
            build.conv(build.pool(value, 3, 1), project),
        ]
        value = build.add("Concat", *branches, axis=1)
    return build.classify(value, facts["classes"])


def _vgg16(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.value
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            value = build.conv(value, width, 3)
        value = build.add("MaxPool", value, kernel_shape=(2, 2), strides=(2, 2))
    value = build.flatten(value)
    for width in (4096, 4096):
        value = build.dense(value, width, "Relu")
    build.dense(value, facts["classes"])
    return build.done()


def _resnet8(facts: Mapping[str, Any]) -> Graph:
    """The residual network of MLPerf Tiny: three stacks of one block."""
    build = Builder(facts["input"])
    value = build.conv(build.value, 16, 3)
    for stage, width in enumerate((16, 32, 64)):
        stride = 2 if stage else 1
        inner = build.conv(build.conv(value, width, 3, stride), width, 3, act="none")
        skip = build.conv(value, width, 1, stride, act="none") if stage else value
        value = build.add("Relu", build.add("Add", inner, skip))
    return build.classify(value, facts["classes"])


def _ds_cnn(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.conv(build.value, 64, (10, 4), (2, 2))
    for _ in range(4):
        value = build.conv(build.conv(value, 64, 3, 1, 64), 64)
    return build.classify(value, facts["classes"])


def _autoencoder(facts: Mapping[str, Any]) -> Graph:
    build = Builder(facts["input"])
    value = build.value
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        value = build.dense(value, width, "Relu")
    build.dense(value, facts["input"][0])
    return build.done()


# -- transformers ------------------------------------------------------------------------------------------------------
def _vit(facts: Mapping[str, Any], patch: int) -> Graph:
    build = Builder(facts["input"])
    side = facts["input"][1] // patch
    pads = (0, 0, 0, 0)
    kernel = build.weight(768, facts["input"][0], patch, patch)
    value = build.add("Conv", build.value, kernel, build.weight(768), strides=(patch, patch), pads=pads)
    value = build.add("Transpose", build.add("Reshape", value, int64s([0, 768, side * side])), perm=(0, 2, 1))
    token = build.add("Expand", build.weight(1, 1, 768), build.add("Concat", _batch_of(build, value), int64s([1, 768]), axis=0))
    value = build.add("Add", build.add("Concat", token, value, axis=1), build.weight(1, side * side + 1, 768))
    value = build.norm(build.encoder(value, 12, 768, 12, 3072, True), 768)
    value = build.add("Gather", value, constant(np.int64(0)), axis=1)
    build.dense(value, facts.get("classes", 512))
    return build.done()


def _batch_of(build: Builder, value: Value) -> Value:
    return build.add("Shape", value, start=0, end=1)


def _bert(facts: Mapping[str, Any]) -> Graph:
    build = Builder((facts["sequence"],), DType.INT64)
    width = facts["hidden"]
    value = build.add("Gather", build.weight(facts["vocabulary"], width), build.value)
    value = build.norm(build.add("Add", value, build.weight(1, facts["sequence"], width)), width)
    value = build.encoder(value, facts["layers"], width, facts["heads"], facts["intermediate"], False)
    build.dense(value, 2)
    return build.done()


def llm_config(facts: Mapping[str, Any]) -> LlmConfig:
    """The sizes of a decoder among the published models."""
    phi = facts["family"] == "phi"
    sizes = {name: facts[name] for name in LLM_KEYS}
    return LlmConfig(**sizes, gated=not phi, parallel=phi, tied="tied" in facts.get("note", ""))


FAMILIES: dict[str, Callable[[Mapping[str, Any]], Graph]] = {
    "resnet50": lambda f: _resnet(f, (3, 4, 6, 3), True),
    "resnet50-v2": lambda f: _resnet(f, (3, 4, 6, 3), True),
    "resnet18": lambda f: _resnet(f, (2, 2, 2, 2), False),
    "mobilenet-v1": _mobilenet_v1,
    "mobilenet-v2": _mobilenet_v2,
    "mobilenet-v3-large": lambda f: _mobilenet_v3(f, V3_LARGE, 960, 1280),
    "mobilenet-v3-small": lambda f: _mobilenet_v3(f, V3_SMALL, 576, 1024),
    "efficientnet-b0": _efficientnet_b0,
    "inception-v1": _inception_v1,
    "vgg16": _vgg16,
    "vit-b16": lambda f: _vit(f, 16),
    "vit-b32": lambda f: _vit(f, 32),
    "bert": _bert,
    "resnet8": _resnet8,
    "ds-cnn": _ds_cnn,
    "autoencoder": _autoencoder,
    "llama": lambda f: decoder_graph(llm_config(f)),
    "phi": lambda f: decoder_graph(llm_config(f)),
}


def build_model(facts: Mapping[str, Any]) -> Graph:
    """The graph of a model of the published measurements, for one batch symbol (decoders: batch, sequence and past)."""
    return FAMILIES[facts["family"]](facts)
