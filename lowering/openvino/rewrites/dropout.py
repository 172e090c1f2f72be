"""Dropout in training mode that drops nothing."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.ops.random import Dropout
from ....passes.registry import find_rule
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .functions import GROUP


@rewrites_op(Dropout, name="openvino-dropout", group=GROUP)
def dropout(node: Node, b: Rewriter) -> Result:
    """Dropout that keeps everything is a copy and a mask of ones."""
    return find_rule("decompose-dropout").function(node, b)
