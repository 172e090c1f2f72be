"""Attention by MIL's own operator since iOS18; what it does not cover is taken apart."""

from __future__ import annotations

import math

import numpy as np

from ....ir.graph import Node
from ....ir.ops.attention import Attention
from ..versions import Release
from .context import Emission
from .translation import Obstacle, translates

_EVIDENCE = "scaled_dot_product_attention since iOS18 (coremltools 9.0)"


def _plain(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, Attention)
    q, k, v, mask = (node.operand(i) for i in range(4))
    assert q is not None and k is not None and v is not None
    if any(x.rank != 4 for x in (q, k, v)):
        return Obstacle("rank", "the heads have to be an axis of their own")
    if any(v.uses for v in node.outputs[1:]) or any(node.operand(i) is not None for i in (4, 5, 6)):
        return Obstacle("attribute", "caches and inner products are not results of MIL's attention")
    if op.softcap or op.left_window_size >= 0 or op.right_window_size >= 0:
        return Obstacle("attribute", "MIL's attention has no soft cap and no windows")
    if q.shape[1] != k.shape[1] or not isinstance(q.shape[3], int):  # type: ignore[index]
        return Obstacle("attribute", "queries and keys have different numbers of heads")
    if mask is not None and (mask.data is None or mask.dtype is not q.dtype or not _finite_rows(mask.data.numpy())):
        return Obstacle("dynamic-parameter", "a mask that may hide all keys from a query")
    if op.is_causal:
        tokens = (q.shape[2], k.shape[2])  # type: ignore[index]
        if mask is not None or not all(isinstance(t, int) for t in tokens):
            return Obstacle("dynamic-shape", "the causal mask needs known numbers of tokens")
    return None


def _finite_rows(mask: np.ndarray) -> bool:
    """Whether every query sees some key, and no number is NaN or positive infinity."""
    return bool(np.all(np.isfinite(mask).any(axis=-1)) and not np.any(np.isnan(mask) | (mask == np.inf)))


@translates(Attention, when=_plain, since=Release.IOS18, evidence=_EVIDENCE)
def attention(e: Emission, node: Node) -> None:
    """Softmax of scaled products; the scale is MIL's own, so that another one is applied to the queries first."""
    op = node.op
    assert isinstance(op, Attention)
    query, key, value = (e.operand(node, i) for i in range(3))
    size = int(query.shape[-1])
    own = 1 / math.sqrt(size)
    if op.scale is not None and not math.isclose(op.scale, own, rel_tol=1e-7):
        query = e.mil.mul(x=query, y=e.like(op.scale / own, query))
    mask = e.operand(node, 3)
    if op.is_causal:
        mask = np.tril(np.ones((int(query.shape[-2]), int(key.shape[-2])), bool))
    e.bind(node, e.mil.scaled_dot_product_attention(query=query, key=key, value=value, attn_mask=mask))
