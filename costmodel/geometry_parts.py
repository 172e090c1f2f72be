"""What all classes of kernels have in common: a class with its sizes, and questions to nodes.

The sizes of each class (every class has ``flops``, the operations outside of multiply-accumulates):

- gemm, gemv: batch, m, n, k; ``fixed`` is 1 when the right operand is constant and can be packed once
- conv-*: batch, groups, inputs and outputs (channels of one group), positions (of the result), area (of the operand), taps, width
  (the innermost spatial axis of the result), stride (product of the strides), edge (positions of a row beside padding), skipped and
  outside (taps over all positions of a channel that lie in the padding above and below: not computed, or computed on zeros that are not
  copied), activated (operations of a fused activation; none for Relu, which kernels do on the way), tail (1 when channels that lie
  next to each other do not fill the last vector), slides (1 for kernels that do not unfold)
- attention: batch, heads, shared (heads of keys and values), queries, keys, size, value_size, projection (multiply-accumulates)
- normalization, softmax: rows, columns
- reduction: elements, results, run (elements that follow each other in memory before the reduced position changes)
- movement: elements, run (elements copied from consecutive places)
- recurrent: steps, batch, gates (times directions), inputs, hidden
- elementwise: elements, run (elements until a broadcast operand begins or ceases to repeat)
- quantize: elements, run (elements that share a scale)
- control, unknown: elements
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.dims import Dim
from ..ir.graph import Node, Value
from ..ir.types import TensorType
from .operators import VIEWS


@dataclass(frozen=True)
class Geometry:
    """The kernel class of a node, its sizes, and a variant that tells apart kernels whose coefficients differ."""

    kernel: str
    sizes: Mapping[str, Dim]
    variant: str = ""


def is_view(node: Node) -> bool:
    """Whether the result shares the operand's memory."""
    return node.op.op_name in VIEWS and not node.op.domain


def is_fixed(value: Value, depth: int = 4) -> bool:
    """Whether a value is the same in every run: a constant, or computed from constants in a few steps."""
    producer = value.producer
    if producer is None or depth == 0:
        return value.is_constant
    if not producer.op.pure or producer.regions or not producer.inputs:
        return False
    return all(v is None or is_fixed(v, depth - 1) for v in producer.inputs)


def computes_shapes(node: Node) -> bool:
    """Whether the results are small integer tensors whose elements inference knows: arithmetic on shapes, no data."""
    return bool(node.outputs) and all(v.content is not None for v in node.outputs)


def result_elements(node: Node) -> Dim:
    total: Dim = 0
    for value in node.outputs:
        if isinstance(value.type, TensorType) and value.type.elements is not None:
            total = total + value.type.elements
    return total


def shape_of(value: Value | None) -> tuple[Any, ...] | None:
    return None if value is None else value.shape


def attribute(node: Node, name: str, default: Any = None) -> Any:
    return dict(node.op.attributes()).get(name, default)
