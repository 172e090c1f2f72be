"""The sizes of scaled dot product attention, of all operators that compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ir.dims import Dim, product
from ..ir.graph import Node, Value
from ..ir.op import MICROSOFT


@dataclass(frozen=True)
class AttentionShape:
    """The sizes of a scaled dot product attention; `projection` are the multiply-accumulates that the operator spends on making queries,
    keys and values out of its input.
    """

    batch: Dim
    heads: Dim
    shared: Dim
    queries: Dim
    keys: Dim
    size: Dim
    value_size: Dim
    projection: Dim = 0

    @property
    def scores(self) -> Dim:
        """Elements of the score matrices of all heads."""
        return self.batch * self.heads * self.queries * self.keys

    @property
    def cache(self) -> Dim:
        """Elements of keys and values."""
        return self.batch * self.shared * self.keys * (self.size + self.value_size)


def _shape(value: Value | None) -> tuple[Any, ...] | None:
    return None if value is None else value.shape


def _attribute(node: Node, name: str) -> Any:
    return dict(node.op.attributes()).get(name)


def attention_shape(node: Node) -> AttentionShape | None:
    """The sizes of an attention operator of ONNX or of ONNX Runtime, None when a shape is not known."""
    query, key, value = (_shape(node.operand(i)) for i in range(3))
    name, microsoft = node.op.op_name, node.op.domain == MICROSOFT
    if query is None:
        return None
    if microsoft and name in ("Attention", "QAttention"):
        return _projected(node, query)
    if name == "GroupQueryAttention":
        present = node.outputs[1].shape if len(node.outputs) > 1 else None
        heads = _attribute(node, "num_heads")
        if present is None or len(present) != 4:
            return None
        return AttentionShape(query[0], heads, present[1], query[1], present[2], present[3], present[3])
    if key is None or value is None:
        return None
    if microsoft:
        heads, past = _attribute(node, "num_heads"), _shape(node.operand(6))
        if len(query) != 3 or len(key) != 3:
            return None
        keys = key[1] + (past[-2] if past is not None else 0)
        return AttentionShape(query[0], heads, heads, query[1], keys, query[2] // heads, value[2] // heads)
    past = _shape(node.operand(4))
    keys = key[-2] + (past[-2] if past is not None and len(past) == 4 else 0)
    if len(query) == 4:
        return AttentionShape(query[0], query[1], key[1], query[2], keys, query[3], value[3])
    heads, shared = _attribute(node, "q_num_heads"), _attribute(node, "kv_num_heads")
    if not heads or not shared:
        return None
    return AttentionShape(query[0], heads, shared, query[1], keys, query[2] // heads, value[2] // shared)


def _projected(node: Node, data: tuple[Any, ...]) -> AttentionShape | None:
    """ONNX Runtime's attention with the projection of its input inside."""
    weight, result, heads = _shape(node.operand(1)), node.output.shape, _attribute(node, "num_heads")
    if weight is None or result is None or not heads:
        return None
    past = _shape(node.operand(4 if node.op.op_name == "Attention" else 8))
    keys = data[1] + (past[-2] if past is not None else 0)
    width = (weight[1] - result[2]) // 2
    projection = data[0] * data[1] * product(weight)
    return AttentionShape(data[0], heads, heads, data[1], keys, width // heads, result[2] // heads, projection)
