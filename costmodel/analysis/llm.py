"""Language models from their sizes alone: a decoder as a graph without weights, over batch, sequence and past length."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic, code, did_you_mean
from ...ir.dims import symbol
from ...ir.dtypes import DType
from ...ir.graph import Graph, Value, constant, int64s
from ...ir.op import OPS
from ...ir.types import TensorType

E_CONFIG = code(
    "E1021",
    "the description of a language model is wrong",
    "A TOML file with layers, hidden, heads, intermediate and vocabulary; kv_heads, head_size, gated, parallel, tied and dtype if they "
    "differ from the defaults.",
)
BATCH, SEQUENCE, PAST = "batch", "sequence", "past"


@dataclass(frozen=True)
class LlmConfig:
    """The sizes of a decoder.

    Attributes:
        layers: blocks of attention and feed-forward.
        hidden: width.
        heads: of queries.
        intermediate: width of the feed-forward part.
        vocabulary: tokens.
        kv_heads: of keys and values; as many as of queries when 0.
        head_size: hidden / heads when 0.
        gated: whether the feed-forward part has a gate (three matrices) or not (two).
        parallel: whether attention and feed-forward read the same normalised input.
        tied: whether the head shares the embedding's weights.
        dtype: short name of the element type.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    kv_heads: int = 0
    head_size: int = 0
    gated: bool = True
    parallel: bool = False
    tied: bool = False
    dtype: str = "f16"

    @property
    def size(self) -> int:
        """Elements of one head."""
        return self.head_size or self.hidden // self.heads

    @property
    def shared(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def parameters(self) -> int:
        """Weights of all matrices, norms left out."""
        attention = self.hidden * self.size * (2 * self.heads + 2 * self.shared)
        feed_forward = (3 if self.gated else 2) * self.hidden * self.intermediate
        return self.layers * (attention + feed_forward) + (1 if self.tied else 2) * self.vocabulary * self.hidden


def read_config(path: str | os.PathLike[str]) -> LlmConfig:
    """The description in a TOML file.

    Raises:
        Diagnostic: E1021 with the key that is wrong.
    """
    where = f"file '{path}'"
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Diagnostic(E_CONFIG, str(error), where) from error
    return config_of(table, where)


def config_of(table: Mapping[str, Any], where: str = "") -> LlmConfig:
    """The description in plain data.

    Raises:
        Diagnostic: E1021 with the key that is wrong.
    """
    known = {field.name: field for field in fields(LlmConfig)}
    for name, value in table.items():
        if name not in known:
            raise Diagnostic(E_CONFIG, f"unknown key '{name}'", where, did_you_mean(name, list(known)))
        kind = {"int": int, "bool": bool, "str": str}[str(known[name].type)]
        if type(value) is not kind or kind is int and value < 0:
            raise Diagnostic(
                E_CONFIG, f"'{name}' is {value!r}", where, "it is a whole number" if kind is int else f"it is a {kind.__name__}"
            )
    missing = [name for name, field in known.items() if field.default is MISSING and not table.get(name)]
    if missing:
        raise Diagnostic(E_CONFIG, f"'{missing[0]}' is missing or zero", where)
    config = LlmConfig(**table)
    if config.dtype not in {kind.short for kind in DType}:
        raise Diagnostic(E_CONFIG, f"there is no element type '{config.dtype}'", where, "f16, bf16 or f32")
    if config.heads % config.shared:
        raise Diagnostic(E_CONFIG, f"{config.heads} heads cannot share {config.shared} of keys and values", where)
    return config


def decoder_graph(config: LlmConfig) -> Graph:
    """The decoder: token identifiers ``[batch, sequence]`` and a key-value cache of length past in, logits of the last position out.

    The cache is extended in its place, as runtimes do: it is read, and never copied. The weights take no memory.
    """
    from ...ir import ops  # noqa: F401  (registers the operators)

    return _Decoder(config).graph


class _Decoder:
    def __init__(self, config: LlmConfig) -> None:
        self.config = config
        self.dtype = next(kind for kind in DType if kind.short == config.dtype)
        self.graph = Graph("decoder")
        self.scope = ""
        batch, sequence = symbol(BATCH), symbol(SEQUENCE)
        ids = self.graph.add_input("input_ids", TensorType(DType.INT64, (batch, sequence)))
        table = self.weight("embedding", config.vocabulary, config.hidden)
        value = self.add("Gather", table, ids)
        for layer in range(config.layers):
            value = self.block(value, layer)
        self.scope = "head/"
        value = self.norm(value, "final_norm")
        value = self.add("Slice", value, int64s([-1]), int64s([2**31]), int64s([1]))
        if config.tied:
            flat = self.add("Reshape", value, int64s([-1, config.hidden]))
            value = self.add("Gemm", flat, table, transB=1)
        else:
            value = self.linear(value, "logits", config.hidden, config.vocabulary)
        self.graph.set_outputs([value], ["logits"])

    def block(self, value: Value, layer: int) -> Value:
        config = self.config
        self.scope = f"layers.{layer}/"
        batch, past = symbol(BATCH), symbol(PAST)
        cache = TensorType(self.dtype, (batch, config.shared, past, config.size))
        old = [self.graph.add_input(f"past_{kind}_{layer}", cache) for kind in ("key", "value")]
        normed = self.norm(value, "input_norm")
        self.scope = f"layers.{layer}/attention/"
        q = self.linear(normed, "q", config.hidden, config.heads * config.size)
        k, v = (self.linear(normed, name, config.hidden, config.shared * config.size) for name in "kv")
        op = _operator("Attention", q_num_heads=config.heads, kv_num_heads=config.shared, is_causal=1)
        node = self.graph.insert(op, [q, k, v, None, *old], outputs=1, name=self.scope + "attention")
        mixed = self.linear(node.outputs[0], "out", config.heads * config.size, config.hidden)
        if config.parallel:
            return self.add("Add", self.add("Add", value, mixed), self.feed_forward(normed, layer))
        self.scope = f"layers.{layer}/"
        value = self.add("Add", value, mixed)
        return self.add("Add", value, self.feed_forward(self.norm(value, "post_norm"), layer))

    def feed_forward(self, value: Value, layer: int) -> Value:
        config = self.config
        self.scope = f"layers.{layer}/mlp/"
        up = self.linear(value, "up", config.hidden, config.intermediate)
        if config.gated:
            gate = self.linear(value, "gate", config.hidden, config.intermediate)
            inner = self.add("Mul", self.add("Mul", gate, self.add("Sigmoid", gate)), up)
        else:
            inner = self.add("Gelu", up)
        value = self.linear(inner, "down", config.intermediate, config.hidden)
        self.scope = f"layers.{layer}/"
        return value

    def weight(self, name: str, *shape: int) -> Value:
        return constant(np.broadcast_to(self.dtype.numpy.type(0), shape), self.scope + name)

    def norm(self, value: Value, name: str) -> Value:
        return self.add("RMSNormalization", value, self.weight(name, self.config.hidden))

    def linear(self, value: Value, name: str, inputs: int, outputs: int) -> Value:
        node = self.graph.insert(_operator("MatMul"), [value, self.weight(name + ".weight", inputs, outputs)], name=self.scope + name)
        return node.output

    def add(self, name: str, *operands: Value, **attributes: Any) -> Value:
        node = self.graph.insert(_operator(name, **attributes), list(operands), name=f"{self.scope}{name}_{len(self.graph)}")
        return node.outputs[0]


def _operator(name: str, **attributes: Any) -> Any:
    kind: Any = OPS["", name]
    return kind(**attributes)
