"""Small models whose bottleneck is known beforehand, over a symbolic batch: what examinations of a machine are tested with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import Dim, symbol
from ...ir.dtypes import DType
from ...ir.graph import Graph, Value, constant
from ...ir.model import Model
from ...ir.ops.activation import Relu, Sigmoid
from ...ir.ops.concat import Concat
from ...ir.ops.conv import Conv
from ...ir.ops.matmul import MatMul
from ...ir.types import TensorType

BATCH = "batch"
ROWS, WIDTH = 512, 1024  # of the large product
CHAIN = 64  # nodes that do nothing
LEAST_BYTES = 64 << 20  # what streams is no smaller than this
TIMES_CACHE = 4  # nor than so many times the last cache


@dataclass(frozen=True)
class Probe:
    """A model with a known bottleneck.

    Attributes:
        name: as users type it.
        truth: what bounds it on any machine with caches smaller than the bytes it was built for.
        title: what it does.
        build: makes its graph of a stream size in bytes and a maker of weights.
    """

    name: str
    truth: str
    title: str
    build: Callable[[Graph, int, Weights], Value]


Weights = Callable[..., Value]


def _input(graph: Graph, name: str, *shape: Dim) -> Value:
    return graph.add_input(name, TensorType(DType.FLOAT, (symbol(BATCH), *shape)))


def _gemm(graph: Graph, stream: int, weight: Weights) -> Value:
    return graph.add(MatMul(), _input(graph, "x", ROWS, WIDTH), weight(WIDTH, WIDTH))


def _memcpy(graph: Graph, stream: int, weight: Weights) -> Value:
    half = stream // 8
    return graph.add(Concat(axis=1), _input(graph, "x", half), _input(graph, "z", half))


def _gemv(graph: Graph, stream: int, weight: Weights) -> Value:
    width = -(-math.isqrt(stream // 4) // 64) * 64
    return graph.add(MatMul(), _input(graph, "x", width), weight(width, width))


def _launch(graph: Graph, stream: int, weight: Weights) -> Value:
    return _chain(graph, _input(graph, "x", 8), CHAIN)


def _chain(graph: Graph, value: Value, nodes: int) -> Value:
    for index in range(nodes):
        value = graph.add(Relu() if index % 2 else Sigmoid(), value)
    return value


def _conv(graph: Graph, stream: int, weight: Weights) -> Value:
    return graph.add(Conv(pads=(1, 1, 1, 1)), _input(graph, "x", 256, 28, 28), weight(256, 256, 3, 3))


PROBES = {
    probe.name: probe
    for probe in (
        Probe("gemm", "compute", f"a product of {ROWS} rows an item with {WIDTH} x {WIDTH} weights", _gemm),
        Probe("conv", "compute", "a 3x3 convolution of 256 channels on 28 x 28", _conv),
        Probe("memcpy", "activations", "two arrays copied behind each other", _memcpy),
        Probe("gemv", "weights", "one row an item with more weights than caches hold", _gemv),
        Probe("launch", "overhead", f"{CHAIN} operators on eight numbers an item", _launch),
    )
}


def probe_model(name: str, cache_bytes: float = 0.0, real: bool = False) -> Model:
    """The model of a probe.

    Args:
        name: of `PROBES`.
        cache_bytes: of the last cache; what streams is larger.
        real: whether the weights hold numbers, to be run; they take no memory otherwise.
    """

    def weight(*shape: int) -> Value:
        numbers: Any
        if real:
            pool = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32) / np.float32(math.sqrt(shape[0]))
            numbers = np.resize(pool, shape)
        else:
            numbers = np.broadcast_to(np.zeros((), np.float32), shape)
        return constant(numbers, f"w{'x'.join(map(str, shape))}")

    graph = Graph(name)
    stream = max(LEAST_BYTES, int(TIMES_CACHE * cache_bytes))
    result = PROBES[name].build(graph, stream, weight)
    graph.set_outputs([result], ["y"])
    return Model(graph, {"": 18})


def chain_model(nodes: int) -> Model:
    """So many operators on eight numbers: what launches cost."""
    graph = Graph("chain")
    graph.set_outputs([_chain(graph, graph.add_input("x", TensorType(DType.FLOAT, (1, 8))), nodes)], ["y"])
    return Model(graph, {"": 18})
