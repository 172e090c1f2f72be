"""Normalisations of com.microsoft by those of ai.onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.microsoft_normalization import (
    EmbedLayerNormalization,
    MsSimplifiedLayerNormalization,
    SimplifiedLayerNormalization,
    SkipLayerNormalization,
    SkipSimplifiedLayerNormalization,
)
from ...ir.ops.normalization import LayerNormalization, RMSNormalization
from ..rewriter import Decline, Result
from .base import decomposes
from .normalization import rms_scaled, trailing
from .terms import Terms

GROUP = "decompose-microsoft-normalization"


def _added(node: Node, t: Terms, bias: Value | None) -> Value:
    x, skip = node.inputs[0], node.inputs[1]
    assert x is not None and skip is not None
    total = t.add(t.widen(x), t.widen(skip))
    return total if bias is None else t.add(total, t.widen(bias))


def _chosen(node: Node, t: Terms, *results: Value | None) -> Result:
    """The results that are used, in their element types."""
    return tuple(t.cast(new, old.dtype) if new is not None and old.uses else None for new, old in zip(results, node.outputs, strict=False))


def _statistics_used(node: Node) -> bool:
    return any(v.uses for v in node.outputs[1:3])


@decomposes(SkipLayerNormalization, name="decompose-skip-layer-normalization", group=GROUP)
def skip_layer_normalization(node: Node, t: Terms) -> Result:
    """Add, Add, LayerNormalization."""
    op: Any = node.op
    total = _added(node, t, node.operand(4))
    gamma, beta = node.inputs[2], node.operand(3)
    assert gamma is not None
    outputs = 3 if _statistics_used(node) else 1
    normal = LayerNormalization(axis=-1, epsilon=op.epsilon)
    done = t.apply(normal, total, t.widen(gamma), None if beta is None else t.widen(beta), outputs=outputs)
    results = done if isinstance(done, tuple) else (done, None, None)
    return _chosen(node, t, *results, total)


@decomposes(SkipSimplifiedLayerNormalization, name="decompose-skip-rms-normalization", group=GROUP)
def skip_rms_normalization(node: Node, t: Terms) -> Result:
    """Add, Add, RMSNormalization."""
    op: Any = node.op
    if _statistics_used(node):
        return Decline("the statistics are used")
    total = _added(node, t, node.operand(3))
    gamma = node.inputs[2]
    assert gamma is not None
    y = t.apply(RMSNormalization(axis=-1, epsilon=op.epsilon), total, t.widen(gamma))
    return _chosen(node, t, y, None, None, total)


@decomposes(SimplifiedLayerNormalization, MsSimplifiedLayerNormalization, name="decompose-simplified-layer-normalization", group=GROUP)
def simplified_layer_normalization(node: Node, t: Terms) -> Result:
    """RMSNormalization, or its formula where the inverse root is used too."""
    op: Any = node.op
    x, scale = node.inputs[0], node.inputs[1]
    assert x is not None and scale is not None
    if len(node.outputs) < 2 or not node.outputs[1].uses:
        return _chosen(node, t, t.apply(RMSNormalization(axis=op.axis, epsilon=op.epsilon, stash_type=op.stash_type), x, scale))
    axes = trailing(node, op.axis)
    if axes is None:
        return Decline("the rank of the operand is not known")
    y, inverse = rms_scaled(t, t.widen(x), axes, op.epsilon)
    return _chosen(node, t, t.mul(y, t.widen(scale)), inverse)


@decomposes(EmbedLayerNormalization, name="decompose-embed-layer-normalization", group=GROUP)
def embed_layer_normalization(node: Node, t: Terms) -> Result:
    """Gather, Add, LayerNormalization; the key counts are a sum."""
    op: Any = node.op
    ids, segments, words, positions, table, gamma, beta = (node.operand(i) for i in range(7))
    mask, places = node.operand(7), node.operand(8)
    assert ids is not None and words is not None and positions is not None and gamma is not None and beta is not None
    if ids.rank != 2:
        return Decline("the rank of the operand is not known")
    total = t.widen(t.take(words, ids, 0))
    where = places if places is not None else t.unsqueeze(t.count(t.dim(ids, 1)), [0])
    total = t.add(total, t.widen(t.take(positions, where, 0)))
    if segments is not None and table is not None:
        total = t.add(total, t.widen(t.take(table, segments, 0)))
    y = t.apply(LayerNormalization(axis=-1, epsilon=op.epsilon), total, t.widen(gamma), t.widen(beta), outputs=1)
    if mask is not None:
        counts = t.total(t.cast(t.equal(mask, t.constant(np.int32(1))), DType.INT32), [1], keepdims=False)
    else:
        counts = t.expand(t.constant(np.zeros(1, np.int32)), [t.dim(ids, 0)])
    return _chosen(node, t, y, counts, total)
