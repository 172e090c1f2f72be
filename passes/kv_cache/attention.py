"""Attention that reads a buffer, or that appends to its cache itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.attention import Attention
from ...ir.ops.microsoft_grouped import GroupQueryAttention
from ...ir.ops.scatter import TensorScatter
from ..decompose.terms import Terms
from .lanes import PAST, Lanes, Obstacle, lane_rule, operand
from .rules import keep_finite
from .terms import terms_before


@lane_rule(Attention)
def attention(lanes: Lanes, node: Node) -> None:
    """Places that are not filled are masked; new keys and values are written into the buffers first."""
    op: Any = node.op
    appends = node in lanes.appends
    if not appends and any(node.operand(i) in lanes.lanes for i in (4, 5) if node.operand(i) is not None):
        raise Obstacle("the cache that it extends is no output of the model", node.where)
    if lanes.of(node.inputs[0]) is not None:
        raise Obstacle("the queries grow", node.where)
    if len(node.outputs) > 3 and node.outputs[3].uses:
        raise Obstacle("it returns the products of queries and keys", node.where)
    mask = node.operand(3)
    if mask is not None:
        seen = lanes.full(mask, node)
        if seen is None or seen.axis != (mask.rank or 0) - 1:
            raise Obstacle("the mask does not have a column for every position", node.where)
    if appends:
        _check_appended(lanes, node)
        for value in node.outputs[1:3]:
            lanes.keep(value, 2)
        lanes.edit(node, lambda n: _append(lanes, n))
        return
    for index in (1, 2):
        value = operand(node, index)
        found = lanes.full(value, node)
        if found is None or found.axis != (2 if value.rank == 4 else 1):
            raise Obstacle("keys and values do not both have all positions", node.where)
        keep_finite(lanes, node, index)
    if any(v.uses for v in node.outputs[1:]):
        raise Obstacle("it returns keys and values that it does not extend", node.where)
    if op.is_causal or op.left_window_size >= 0 or op.right_window_size >= 0:
        raise Obstacle("its causal mask counts from the first position, whatever the cache holds", node.where)
    lanes.edit(node, lambda n: _masked(lanes, n, lanes.terms.filled(0)))


def _masked(lanes: Lanes, node: Node, seen: Value) -> None:
    """Let an Attention see some places only."""
    t = terms_before(node, lanes.context)
    operands = [node.operand(i) for i in range(max(4, len(node.inputs)))]
    operands[3] = _joined(t, operands[3], seen, node.output.dtype)
    node.set_operands(operands)


def _joined(t: Terms, mask: Value | None, seen: Value, dtype: DType | None) -> Value:
    if mask is None:
        return t.reshape(seen, [1, -1]) if seen.rank == 1 else seen
    return t.both(mask, seen) if mask.dtype is DType.BOOL else t.where(seen, mask, float("-inf"))


def _check_appended(lanes: Lanes, node: Node) -> None:
    op: Any = node.op
    for index in (4, 5):
        found = lanes.of(node.operand(index))
        if found is None or found.kind != PAST or found.axis != 2:
            raise Obstacle("one of the caches that it extends is no input of the model", node.where)
    for index in (1, 2):
        new = operand(node, index)
        if new in lanes.lanes or new.rank not in (3, 4) or (new.rank == 3 and not op.kv_num_heads):
            raise Obstacle("the heads of the new keys and values are not known", node.where)
    if node.operand(6) is not None:
        raise Obstacle("it takes a cache and lengths at the same time", node.where)


def _append(lanes: Lanes, node: Node) -> None:
    op: Any = node.op
    t = terms_before(node, lanes.context)
    buffers = []
    for index in (1, 2):
        new, cache = operand(node, index), operand(node, 3 + index)
        if new.rank == 3:
            new = t.transpose(t.reshape(new, [0, 0, op.kv_num_heads, -1]), (0, 2, 1, 3))
        assert cache.shape is not None
        buffers.append(t.apply(TensorScatter(), cache, new, lanes.terms.indices(cache.shape[0])))
    right = 0 if op.is_causal and op.right_window_size != 0 else op.right_window_size
    seen = lanes.terms.window(op.left_window_size, right) if right >= 0 or op.left_window_size >= 0 else lanes.terms.filled(0)
    plain = replace(op, is_causal=0, left_window_size=-1, right_window_size=-1)
    mask = _joined(t, node.operand(3), seen, node.output.dtype)
    result = t.apply(plain, node.inputs[0], *buffers, mask, outputs=1)
    t.b.finish()
    for old, new in zip(node.outputs, (result, *buffers), strict=False):
        name = old.name
        lanes.graph.replace(old, new)
        old.name, new.name = f"{name}/grown", name


@lane_rule(GroupQueryAttention)
def grouped(lanes: Lanes, node: Node) -> None:
    """The operator keeps to the lengths that it is given; it takes a longer cache for a buffer."""
    if node not in lanes.appends or any(lanes.of(node.operand(i)) is None for i in (3, 4)):
        raise Obstacle("its caches are no inputs of the model", node.where)
    if any(lanes.of(node.operand(i)) is not None for i in (0, 1, 2, 5, 6, 9)):
        raise Obstacle("its queries or lengths grow", node.where)
    if len(node.outputs) > 3 and node.outputs[3].uses:
        raise Obstacle("it returns the products of queries and keys", node.where)
    for value in node.outputs[1:3]:
        if value.shape is None:
            raise Obstacle("the length of its caches is not known", node.where)
        lanes.keep(value, 2)
    total = operand(node, 6)
    lanes.settled.add((node, 6))
    whole = np.full(total.tensor.static_shape or (), lanes.terms.length)
    lanes.edit(node, lambda n: n.set_operand(6, terms_before(n, lanes.context).constant(whole.astype(total.tensor.dtype.numpy))))
