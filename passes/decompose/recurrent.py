"""Recurrent layers with the batch first by those with the time first, and with 8-bit weights by those with real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...ir.graph import Node
from ...ir.ops.microsoft_dynamic import DynamicQuantizeLSTM, dequantized_recurrent
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ..rewriter import Decline, Result
from .base import Error, decomposes
from .terms import Terms

# Measured on ONNX Runtime with 20 random layers of 32 to 128 inputs, 32 to 64 units and 16 to 50 steps.
ACTIVATION_ERROR = Error(0.021, float("nan"), 0.0105, "the activations are not quantised: nearer to the layer before its quantisation")


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


@decomposes(DynamicQuantizeLSTM, name="dynamic-lstm-to-float", group="decompose-recurrent", error=ACTIVATION_ERROR)
def dynamic_lstm_to_float(node: Node, t: Terms) -> Result:
    """LSTM of unquantised activations with the weights' real values."""
    weights = [[node.operand(index) for index in indices] for indices in ((1, 8, 9), (2, 10, 11))]
    if any(value is None or value.data is None for triple in weights for value in triple):
        return Decline("a weight, scale or zero point is computed at run time")
    real = [t.constant(dequantized_recurrent(*(v.data.numpy() for v in triple if v is not None and v.data))) for triple in weights]
    x, others = node.inputs[0], [node.operand(index) for index in range(3, 8)]
    while others and others[-1] is None:
        others.pop()
    return t.apply(LSTM(**dict(node.op.attributes())), x, *real, *others, outputs=len(node.outputs))
