"""Which tensors of two models correspond, and the layers that lie between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.dtypes import DType
from .compare import is_float
from .subgraph import ProtoGraph
from .subject import Subject
from .tensors import TensorFacts
from .tolerance import resolution

_CODE_TO_DTYPE = {dtype.code: dtype for dtype in DType}
_FULL = (DType.FLOAT, DType.DOUBLE)
_WINDOW_SUMS = ("Conv", "ConvTranspose", "FusedConv", "QLinearConv", "ConvInteger", "DeformConv")
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "MatMulNBits", "Gemm", "FusedGemm", "Einsum")


@dataclass
class Layer:
    """A tensor of the second model that has a counterpart in the first, and the nodes that compute it from
    such tensors.

    Attributes:
        name: the tensor in the second model.
        reference: its counterpart in the first.
        nodes: indices of the second model's nodes in the layer.
        edges: the mapped tensors and inputs that the layer reads.
        length: the longest sum in the layer, as far as shapes tell.
        dtypes: element types coarser than float32 that the layer computes or stores in.
        depth: the number of layers on the longest way from an input, this one included.
        floats: whether floating-point numbers are computed with in the layer.
        random: whether the tensor depends on random numbers in either model.
        draws: whether random numbers are drawn inside the layer.
        total_length, total_dtypes, total_floats: as above over all layers that it depends on, this one
        included.
    """

    name: str
    reference: str
    nodes: list[int]
    edges: list[str]
    length: int = 1
    dtypes: frozenset[DType] = frozenset()
    depth: int = 1
    floats: bool = False
    random: bool = False
    draws: bool = False
    total_length: int = 1
    total_dtypes: frozenset[DType] = frozenset()
    total_floats: bool = False


def counterparts(a: Subject, b: Subject) -> dict[str, str]:
    """Tensors of ``b`` with the tensor of ``a`` that stands for the same value: debug handles in common, else
    equal names.

    What does not depend on the inputs is left out, outputs excepted: a fault in a weight shows where the weight
    is used. When several tensors of ``a`` share a handle, one with the same name wins, then the first.
    """
    assert a.graph is not None and b.graph is not None
    by_handle: dict[str, list[str]] = {}
    for name, handles in a.handles.items():
        for handle in handles:
            by_handle.setdefault(handle, []).append(name)
    found: dict[str, str] = {}
    variable = b.graph.variable_tensors()
    for node in b.graph.nodes:
        for name in node.output:
            if name not in variable:
                continue
            options = [o for handle in b.handles.get(name, ()) for o in by_handle.get(handle, ()) if o in a.graph.producer]
            if options:
                found[name] = name if name in options else options[0]
    for name in b.graph.outputs:
        if name not in found and name in b.graph.producer and name in a.graph.producer:
            found[name] = name
    return found


def compatible(reference: TensorFacts | None, other: TensorFacts | None) -> bool:
    """Whether two tensors can be compared element by element and the first can be fed in place of the second."""
    if reference is None or other is None or reference.shape != other.shape:
        return False
    if reference.dtype == other.dtype:
        return True
    return _floating(reference.dtype) and _floating(other.dtype)


def _floating(dtype: np.dtype[Any]) -> bool:
    return is_float(np.empty(0, dtype))


def build_layers(a: Subject, b: Subject, mapped: Mapping[str, str], facts: Mapping[str, TensorFacts]) -> list[Layer]:
    """The layers of ``b`` in topological order.

    Args:
        mapped: counterparts in ``a`` by tensor of ``b``; only compatible ones.
        facts: what is known of the tensors of ``b``.
    """
    assert a.graph is not None and b.graph is not None
    graph = b.graph
    cut = set(mapped)
    random_a, random_b = a.graph.random_tensors(), graph.random_tensors()
    layers: dict[str, Layer] = {}
    for node in graph.nodes:
        for name in node.output:
            if name not in mapped:
                continue
            nodes, edges = graph.segment(name, cut)
            layer = Layer(name, mapped[name], nodes, edges)
            layer.length = max((reduction_length(graph, i, facts) for i in nodes), default=1)
            layer.dtypes = coarse_types(graph, nodes, facts)
            layer.floats = _reads_floats(graph, nodes, facts)
            layer.random = name in random_b or mapped[name] in random_a
            layer.draws = any(graph.random_node(i) for i in nodes)
            before = [layers[e] for e in edges if e in layers]
            layer.depth = 1 + max((b.depth for b in before), default=0)
            layer.total_length = max([layer.length, *(b.total_length for b in before)])
            layer.total_dtypes = layer.dtypes.union(*(b.total_dtypes for b in before))
            layer.total_floats = layer.floats or any(b.total_floats for b in before)
            layers[name] = layer
    return list(layers.values())


def reduction_length(graph: ProtoGraph, index: int, facts: Mapping[str, TensorFacts]) -> int:
    """The number of terms that are summed for one result element of a node; a guess from sizes for unusual
    operators.
    """
    node = graph.nodes[index]
    shapes = [_shape(graph, name, facts) for name in node.input]
    first = shapes[0] if shapes else None
    second = shapes[1] if len(shapes) > 1 else None
    if node.op_type in _WINDOW_SUMS and second:
        return max(1, math.prod(second[1:]))
    if node.op_type in _PRODUCTS:
        unordered = node.op_type in ("Gemm", "FusedGemm", "Einsum")
        inner = (first or ())[-1:] or (second or ())[-2:-1]  # one of the two may be known only
        return max((1, *(first or ()), *(second or ()))) if unordered else max((1, *inner))
    if first is None:
        return 1
    if node.op_type in _NORMALISING:
        return max((1, *first))
    if node.op_type.startswith(("Reduce", "Global")) or node.op_type.endswith("Pool"):
        made = max([math.prod(facts[name].shape) for name in node.output if name in facts], default=1)
        return max(1, math.prod(first) // max(made, 1))
    return 1


_NORMALISING = (
    "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "InstanceNormalization",
    "GroupNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "Attention",
    "MultiHeadAttention", "CumSum", "LSTM", "GRU", "RNN", "MeanVarianceNormalization", "LpNormalization",
)  # fmt: skip


def _shape(graph: ProtoGraph, name: str, facts: Mapping[str, TensorFacts]) -> tuple[int, ...] | None:
    if name in facts:
        return facts[name].shape
    constant = graph.constants.get(name)
    return None if constant is None else tuple(constant.dims)


def coarse_types(graph: ProtoGraph, nodes: list[int], facts: Mapping[str, TensorFacts]) -> frozenset[DType]:
    """Element types in which the nodes compute or store data more coarsely than float32."""
    found: set[DType] = set()
    for index in nodes:
        node = graph.nodes[index]
        quantised = "Quantize" in node.op_type or "QLinear" in node.op_type or "Integer" in node.op_type
        quantised = quantised or node.op_type == "MatMulNBits"
        for name in (*node.input, *node.output):
            dtype = _dtype(graph, name, facts)
            if dtype is None or dtype in _FULL:
                continue
            if dtype.is_float or (quantised and dtype.is_integer and dtype.bits <= 16):
                found.add(dtype)
        if node.op_type == "MatMulNBits":
            bits = next((attribute.i for attribute in node.attribute if attribute.name == "bits"), 4)
            found.add({2: DType.UINT2, 4: DType.UINT4}.get(bits, DType.UINT8))
    return frozenset(found)


def _reads_floats(graph: ProtoGraph, nodes: list[int], facts: Mapping[str, TensorFacts]) -> bool:
    for index in nodes:
        for name in graph.reads[index]:
            dtype = _dtype(graph, name, facts)
            if dtype is not None and dtype.is_float and name not in graph.constants:
                return True
    return False


def _dtype(graph: ProtoGraph, name: str, facts: Mapping[str, TensorFacts]) -> DType | None:
    if name in facts:
        return DType.from_numpy(facts[name].dtype)
    constant = graph.constants.get(name)
    return None if constant is None else _CODE_TO_DTYPE.get(constant.data_type)


def coarsest(dtypes: frozenset[DType], own: DType) -> DType:
    """The type that decides the tolerance of a tensor of type ``own``."""
    floats = [own] if own.is_float else [DType.FLOAT]
    return max([*floats, *sorted(dtypes, key=lambda d: d.code)], key=resolution)
