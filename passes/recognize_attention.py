"""Recognises scaled dot-product attention that is spelled in small operators: masks, grouped heads, head layouts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.attention import Attention, RotaryEmbedding
from ..ir.ops.binary import Add, Div, Mul
from ..ir.ops.concat import Split
from ..ir.ops.gather import Gather
from ..ir.ops.logical import Where
from ..ir.ops.matmul import MatMul
from ..ir.ops.reshape import Expand, Reshape, Squeeze, Unsqueeze
from ..ir.ops.slice import Slice
from ..ir.ops.softmax import Softmax
from ..ir.ops.transpose import Transpose
from ..ir.ops.unary import Identity, IsNaN
from .algebra import COMPOSITE_TYPES, exclusive, rounded, scalar
from .attention_masks import GROUP, for_every_query, mask_problem
from .driver import RulePass
from .match import Match
from .pattern import P
from .rewriter import Decline, Result, Rewriter, rewrites, rewrites_op


@dataclass(frozen=True)
class RecognizeAttention(RulePass):
    """Replace spelled-out scaled dot-product attention by Attention (opset 23), with masks, grouped heads and packed layouts.

    A row whose every key is masked has no defined result: some exporters guard it with zeros, runtimes differ.
    """

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def _scaled(value: Value, user: Node) -> tuple[Value, float, list[Node]]:
    """Peel scalar factors off a value: the rest, the factor, the nodes peeled off."""
    factor, nodes = 1.0, []
    while value.producer is not None and exclusive(value, user):
        node = value.producer
        if isinstance(node.op, Mul):
            for index in (0, 1):
                number, rest = scalar(node.inputs[index]), node.inputs[1 - index]
                if number is not None and rest is not None:
                    break
            else:
                break
            factor *= number
        elif isinstance(node.op, Div) and (scalar(node.inputs[1]) or 0.0) != 0.0 and node.inputs[0] is not None:
            factor /= scalar(node.inputs[1]) or 1.0
            rest = node.inputs[0]
        elif isinstance(node.op, Identity) and node.inputs[0] is not None:
            rest = node.inputs[0]
        else:
            break
        nodes.append(node)
        value, user = rest, node
    return value, factor, nodes


def _transposed_keys(value: Value, b: Rewriter) -> Value | None:
    """The keys as ``[batch, heads, tokens, size]`` when ``value`` is their transpose ``[batch, heads, size, tokens]``."""
    node = value.producer
    if node is None or value.rank != 4:
        return None
    if isinstance(node.op, Transpose):
        perm, source = node.op.perm, node.inputs[0]
        assert source is not None
        b.credit(node)
        if perm == (0, 1, 3, 2):
            return source
        if perm == (0, 2, 3, 1):
            return b.add(Transpose(perm=(0, 2, 1, 3)), source)
        return None
    if isinstance(node.op, Reshape):  # [B, H, S, D] → [B·H, S, D] → transpose → [B, H, D, S]
        turned = node.inputs[0].producer if node.inputs[0] is not None else None
        if turned is None or not isinstance(turned.op, Transpose) or turned.op.perm != (0, 2, 1) or turned.inputs[0] is None:
            return None
        flat = turned.inputs[0].producer
        source = flat.inputs[0] if flat is not None and isinstance(flat.op, Reshape) else None
        if source is None or source.shape is None or value.shape is None:
            return None
        if len(source.shape) == 5 and source.shape[0] == 1:  # one of several stacked tensors, not squeezed yet
            source = b.add(Squeeze(), source, b.ints((0,)))
        if source.shape is None or len(source.shape) != 4:
            return None
        batch, heads, tokens, size = source.shape
        rows = turned.output.shape
        if value.shape == (batch, heads, size, tokens) and rows is not None and rows[1:] == (size, tokens):
            b.credit(node, turned)
            return source
    return None


@dataclass(frozen=True)
class _Scores:
    """Query-key products as the softmax reads them."""

    query: Value
    key_transposed: Value
    scale: float
    mask: Value | None
    nodes: tuple[Node, ...]


def _scores(value: Value, user: Node) -> _Scores | str:
    """Take ``scale · (q · kᵀ) + mask`` apart; a reason when it is something else."""
    nodes: list[Node] = []
    mask: Value | None = None
    scale = 1.0
    for _ in range(3):
        value, factor, peeled = _scaled(value, user)
        scale *= factor
        nodes += peeled
        node = value.producer
        if node is None:
            return "the scores come from no node"
        if isinstance(node.op, MatMul):
            break
        if not isinstance(node.op, Add) or mask is not None:
            return f"the scores come from {node.op.qualified_name}, not from a product of queries and keys"
        if scale != 1.0:
            return "the scores are scaled after the mask is added"
        chosen = _product_side(node)
        if chosen is None:
            return "no summand of the scores is a product of queries and keys"
        mask = node.inputs[1 - chosen]
        nodes.append(node)
        value, user = node.inputs[chosen], node  # type: ignore[assignment]
    else:
        return "the scores are spelled in an unknown way"
    if not exclusive(value, user):
        return "the products of queries and keys are used elsewhere"
    left, right = node.inputs
    assert left is not None and right is not None
    query, left_scale, left_nodes = _scaled(left, node)
    keys, right_scale, right_nodes = _scaled(right, node)
    return _Scores(query, keys, scale * left_scale * right_scale, mask, (*nodes, node, *left_nodes, *right_nodes))


def _product_side(node: Node) -> int | None:
    for index in (0, 1):
        value = node.inputs[index]
        if value is None or not exclusive(value, node):
            continue
        inner = _scaled(value, node)[0].producer
        if inner is not None and isinstance(inner.op, MatMul):
            return index
    return None


def _probabilities(value: Value, user: Node) -> tuple[Node, list[Node]] | None:
    """The softmax behind the attention weights, through the guard ``Where(IsNaN(p), 0, p)``."""
    node = value.producer
    if node is None or not exclusive(value, user):
        return None
    if isinstance(node.op, Softmax):
        return node, []
    if isinstance(node.op, Where) and scalar(node.inputs[1]) == 0.0:
        weights, condition = node.inputs[2], node.inputs[0]
        test = condition.producer if condition is not None else None
        if weights is None or test is None or not isinstance(test.op, IsNaN) or test.inputs[0] is not weights:
            return None
        softmax = weights.producer
        if softmax is not None and isinstance(softmax.op, Softmax) and set(weights.users()) <= {test, node}:
            return softmax, [node, test]
    return None


@rewrites_op(MatMul, name="recognize-sdpa", group=GROUP)
def recognize_sdpa(node: Node, b: Rewriter) -> Result:
    """softmax(s·q·kᵀ + mask)·v on ``[batch, heads, tokens, size]``."""
    weights, values = node.inputs
    assert weights is not None and values is not None
    found = _probabilities(weights, node)
    if found is None:
        return None
    softmax, guard = found
    if weights.rank != 4 or values.rank != 4:
        return Decline("weights and values do not have the rank 4", softmax)
    if softmax.op.axis not in (-1, 3) or softmax.inputs[0] is None:  # type: ignore[attr-defined]
        return Decline("the softmax does not run over the keys", softmax)
    scores = _scores(softmax.inputs[0], softmax)
    if isinstance(scores, str):
        return Decline(scores, softmax)
    if scores.query.rank != 4:
        return Decline("the queries do not have the rank 4", scores.query.producer)
    if scores.mask is not None:
        reason = mask_problem(scores.mask, weights)
        if reason:
            return Decline(reason, softmax)
    b.credit(softmax, *guard, *scores.nodes)
    key = _transposed_keys(scores.key_transposed, b)
    if key is None:
        key = b.add(Transpose(perm=(0, 1, 3, 2)), scores.key_transposed)
    problem = _operands_problem(scores.query, key, values, weights)
    if problem:
        return Decline(problem, softmax)
    if weights.dtype is DType.FLOAT16 and not b.context.allow_approximate:
        return Decline("kernels of the operator round float16 elsewhere than the spelling does (allow approximation to have it)", softmax)
    if scores.scale <= 0:
        return Decline("the scale is not positive", softmax)
    size = scores.query.shape[3] if scores.query.shape else None
    plain = isinstance(size, int) and math.isclose(scores.scale, 1 / math.sqrt(size), rel_tol=1e-5)
    mask = None if scores.mask is None else for_every_query(scores.mask, scores.query, b)
    return b.add(Attention(scale=None if plain else rounded(scores.scale)), scores.query, key, values, mask, outputs=1)


def _operands_problem(query: Value, key: Value, values: Value, weights: Value) -> str | None:
    """Why queries, keys and values are not those of one attention: products and masks broadcast, the operator does not."""
    shapes = [x.shape for x in (query, key, values)]
    if any(s is None or len(s) != 4 for s in shapes) or weights.dtype not in COMPOSITE_TYPES:
        return "queries, keys or values do not have four dimensions of a type that the operator takes"
    q, k, v = (s for s in shapes if s is not None)
    if not isinstance(q[1], int) or q[1] != k[1] or q[1] != v[1]:
        return "the numbers of heads are not equal and static"
    if q[0] != k[0] or q[0] != v[0]:
        return "the batches are not equal"
    return None if weights.shape == (*q[:3], k[2]) else "the mask has more rows than the queries"


# -- grouped heads -----------------------------------------------------------------------------------------------------
def _repeated(value: Value) -> tuple[Value, int] | None:
    """The heads before each was repeated ``n`` times in a row: Unsqueeze(2) → Expand → Reshape."""
    node = value.producer
    if node is None or not isinstance(node.op, Reshape) or value.rank != 4 or node.inputs[0] is None:
        return None
    expand = node.inputs[0].producer
    if expand is None or not isinstance(expand.op, Expand) or expand.inputs[0] is None:
        return None
    lifted = expand.inputs[0].producer
    if lifted is None or not isinstance(lifted.op, Unsqueeze | Reshape) or lifted.inputs[0] is None:
        return None
    source, wide = lifted.inputs[0], expand.output.shape
    if source.rank != 4 or source.shape is None or wide is None or len(wide) != 5 or value.shape is None:
        return None
    batch, heads, tokens, size = source.shape
    times = wide[2]
    if lifted.output.shape != (batch, heads, 1, tokens, size) or wide != (batch, heads, times, tokens, size):
        return None
    if not isinstance(times, int) or not isinstance(heads, int) or value.shape != (batch, heads * times, tokens, size):
        return None
    return source, times


@rewrites_op(Attention, name="grouped-query-attention", group=GROUP)
def grouped_heads(node: Node, b: Rewriter) -> Result:
    """Keys and values whose heads are repeated: Attention itself shares them among the query heads."""
    key, value = node.operand(1), node.operand(2)
    if key is None or value is None:
        return None
    keys, values = _repeated(key), _repeated(value)
    if keys is None or values is None:
        return None
    if keys[1] != values[1]:
        return Decline("keys and values are repeated differently", node)
    b.credit(*(n for v in (key, value) if (n := v.producer) is not None))
    return b.add(node.op, node.inputs[0], keys[0], values[0], *node.inputs[3:], outputs=1)


# -- layouts: [batch, heads, tokens, size] → [batch, tokens, heads · size] ------------------------------------------------
def _packed(value: Value | None, b: Rewriter) -> tuple[Value, int] | None:
    """The packed form ``[batch, tokens, heads · size]`` behind Reshape → Transpose(0, 2, 1, 3), and the number of heads.

    A rotary embedding in between works on the packed form too.
    """
    node = value.producer if value is not None else None
    if node is not None and isinstance(node.op, RotaryEmbedding):
        inner = _packed(node.inputs[0], b)
        if inner is None:
            return None
        b.credit(node)
        return b.add(replace(node.op, num_heads=inner[1]), inner[0], *node.inputs[1:]), inner[1]
    stacked = _stacked(node, b)
    if stacked is not None:
        return stacked
    if node is None or not isinstance(node.op, Transpose) or node.op.perm != (0, 2, 1, 3) or node.inputs[0] is None:
        return None
    split = node.inputs[0].producer
    if split is None or not isinstance(split.op, Reshape) or split.inputs[0] is None:
        return None
    source, shape = split.inputs[0], split.output.shape
    if source.rank != 3 or source.shape is None or shape is None or len(shape) != 4:
        return None
    batch, tokens, heads, size = shape
    if not isinstance(heads, int) or not isinstance(size, int) or source.shape != (batch, tokens, heads * size):
        return None
    return source, heads


def _stacked(node: Node | None, b: Rewriter) -> tuple[Value, int] | None:
    """One of n packed tensors of which one projection ``[batch, tokens, n · heads · size]`` computes all.

    The spelling is Reshape to ``[batch, tokens, n, heads, size]`` → Transpose(2, 0, 3, 1, 4) → the i-th part of the first axis.
    """
    picked = _picked_part(node)
    if picked is None:
        return None
    turned, index = picked
    if turned is None or not isinstance(turned.op, Transpose) or turned.op.perm != (2, 0, 3, 1, 4) or turned.inputs[0] is None:
        return None
    split = turned.inputs[0].producer
    if split is None or not isinstance(split.op, Reshape) or split.inputs[0] is None:
        return None
    source, shape = split.inputs[0], split.output.shape
    if source.rank != 3 or source.shape is None or shape is None or len(shape) != 5:
        return None
    batch, tokens, count, heads, size = shape
    if not all(isinstance(d, int) for d in (count, heads, size)) or source.shape != (batch, tokens, count * heads * size):
        return None
    b.credit(turned, split)
    parts = b.add(Split(axis=2), source, b.ints((heads * size,) * count), outputs=count)
    return (parts[index] if count > 1 else parts), heads


def _picked_part(node: Node | None) -> tuple[Node | None, int] | None:
    """The node whose result's first axis is picked at one index, and the index."""
    if node is None or node.inputs[0] is None:
        return None
    if isinstance(node.op, Gather) and node.op.axis == 0 and (chosen := node.inputs[1]) is not None and chosen.rank == 0:
        return (node.inputs[0].producer, chosen.ints[0]) if chosen.ints is not None and chosen.ints[0] >= 0 else None
    axes = node.operand(1)
    if not isinstance(node.op, Squeeze) or axes is None or axes.ints != (0,):
        return None
    part = node.inputs[0]
    cut = part.producer
    if cut is None or cut.inputs[0] is None:
        return None
    if isinstance(cut.op, Split) and cut.op.axis == 0 and all(v.shape is not None and v.shape[0] == 1 for v in cut.outputs):
        return cut.inputs[0].producer, part.index
    starts, ends, sliced, steps = (v.ints if (v := cut.operand(i)) is not None else None for i in (1, 2, 3, 4))
    if isinstance(cut.op, Slice) and sliced == (0,) and steps in (None, (1,)) and starts is not None and ends is not None:
        return (cut.inputs[0].producer, starts[0]) if starts[0] >= 0 and part.shape is not None and part.shape[0] == 1 else None
    return None


def _merge(b: Rewriter, value: Value) -> Value:
    """``[batch, heads, tokens, size]`` → ``[batch, tokens, heads · size]``."""
    assert value.shape is not None
    hidden = value.shape[1] * value.shape[3]
    return b.add(Reshape(), b.add(Transpose(perm=(0, 2, 1, 3)), value), b.ints((0, 0, hidden)))


@rewrites(
    P(Reshape)(P(Transpose, perm=(0, 2, 1, 3))(P(Attention, "attention")("q", "k", "v", ...)), ...),
    name="packed-attention",
    group=GROUP,
)
def packed_attention(m: Match, b: Rewriter) -> Result:
    """Attention whose operands are split from, and whose result is merged to, ``[batch, tokens, hidden]`` takes them packed."""
    node = m.node("attention")
    if len(node.outputs) > 1 and any(v.uses for v in node.outputs[1:]) or node.operand(4) is not None:
        return Decline("the attention has a key-value cache", node)
    y, out = node.output, m.value
    if y.shape is None or out.rank != 3 or out.shape is None or y.rank != 4:
        return Decline("the result is not merged to three dimensions", m.root)
    batch, heads, tokens, size = y.shape
    if not isinstance(size, int) or out.shape != (batch, tokens, heads * size):
        return Decline(f"the result {out.type} does not merge heads", m.root)
    if any(v.shape is None or not isinstance(v.shape[1], int) or not isinstance(v.shape[3], int) for v in (m["q"], m["k"], m["v"])):
        return Decline("heads and their size are not static", node)
    found = [_packed(m[name], b) for name in "qkv"]
    if found[0] is None or sum(f is not None for f in found) < 2:
        return Decline("queries and keys are not split from a packed tensor", node)
    operands = [_merge(b, m[name]) if f is None else f[0] for name, f in zip("qkv", found, strict=True)]
    op = replace(node.op, q_num_heads=heads, kv_num_heads=m["k"].shape[1])  # type: ignore[type-var,index]
    return b.add(op, *operands, *node.inputs[3:], outputs=1)
