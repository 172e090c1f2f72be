"""Recurrent layers with the batch first, by those with the time first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...ir.graph import Node
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ..rewriter import Result
from .base import decomposes
from .terms import Terms


@decomposes(RNN, GRU, LSTM, name="recurrent-time-first", group="decompose-recurrent", targeted=True)
def recurrent_time_first(node: Node, t: Terms) -> Result:
    """``layout=1`` by transposing operands and results."""
    op: Any = node.op
    if not op.layout:
        return None
    swapped = (0, 5, 6)  # X and the initial states
    operands = [
        t.transpose(value, (1, 0, 2)) if value is not None and index in swapped else value for index, value in enumerate(node.inputs)
    ]
    results = t.apply(replace(op, layout=0), *operands, outputs=len(node.outputs))
    results = results if isinstance(results, tuple) else (results,)
    orders = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
    return tuple(t.transpose(new, order) if old.uses else None for new, old, order in zip(results, node.outputs, orders, strict=False))
