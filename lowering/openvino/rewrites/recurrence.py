"""LSTMs with peepholes, which OpenVINO ignores."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.graph import Node, Value
from ....ir.ops.binary import Max, Min
from ....ir.ops.recurrent import LSTM
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .functions import GROUP

LONGEST = 64  # the longest sequence that is written out


@rewrites_op(LSTM, name="openvino-lstm-peepholes", group=GROUP)
def peepholes(node: Node, b: Rewriter) -> Result:
    """An LSTM whose gates see the cell state is written out step by step."""
    op, x, weights = node.op, node.inputs[0], node.operand(7)
    assert isinstance(op, LSTM) and x is not None
    if weights is None or op.layout:
        return None
    steps = x.shape[0] if x.shape is not None else None
    if not isinstance(steps, int) or not 0 < steps <= LONGEST:
        return Decline("the length of the sequence is not known, or too great to be written out")
    plain = op.activations is None or tuple(a.lower() for a in op.activations) == ("sigmoid", "tanh", "tanh")
    partly = node.operand(4) is not None and op.direction != "forward"
    if op.direction == "bidirectional" or partly or not plain or op.hidden_size is None:
        return Decline("only one direction and the default activations are written out, of partial sequences only forward")
    return _written_out(op, node, Terms(b), steps)


def _written_out(op: LSTM, node: Node, t: Terms, steps: int) -> Result:
    size = op.hidden_size
    assert size is not None
    x, w, r, bias, lengths, h, c, p = (node.operand(i) for i in range(8))
    assert x is not None and w is not None and r is not None and p is not None
    w_t, r_t = t.transpose(t.squeeze(w, [0]), (1, 0)), t.transpose(t.squeeze(r, [0]), (1, 0))
    peeps = [t.slice(t.squeeze(p, [0]), 0, i * size, (i + 1) * size) for i in range(3)]  # input, output, forget
    offset = None
    if bias is not None:
        flat = t.squeeze(bias, [0])
        offset = t.add(t.slice(flat, 0, 0, 4 * size), t.slice(flat, 0, 4 * size, 8 * size))
    batch = t.dim(x, 1)
    zeros = t.expand(t.like(0, x), [batch, size])
    hidden = zeros if h is None else t.squeeze(h, [0])
    cell = zeros if c is None else t.squeeze(c, [0])
    ends = None if lengths is None else t.reshape(lengths, [-1, 1])
    order: Sequence[int] = range(steps) if op.direction == "forward" else range(steps - 1, -1, -1)
    outputs: dict[int, Value] = {}
    for step in order:
        gates = t.add(t.matmul(t.squeeze(t.slice(x, 0, step, step + 1), [0]), w_t), t.matmul(hidden, r_t))
        if offset is not None:
            gates = t.add(gates, offset)
        i, o, f, g = (t.slice(gates, 1, k * size, (k + 1) * size) for k in range(4))
        entry = t.sigmoid(_clipped(t, t.add(i, t.mul(peeps[0], cell)), op.clip))
        if op.input_forget:
            kept = t.sub(1, entry)
        else:
            kept = t.sigmoid(_clipped(t, t.add(f, t.mul(peeps[2], cell)), op.clip))
        new_cell = t.add(t.mul(kept, cell), t.mul(entry, t.tanh(_clipped(t, g, op.clip))))
        exit_gate = t.sigmoid(_clipped(t, t.add(o, t.mul(peeps[1], new_cell)), op.clip))
        new_hidden = t.mul(exit_gate, t.tanh(new_cell))
        if ends is None:
            cell, hidden = new_cell, new_hidden
            outputs[step] = hidden
        else:
            runs = t.greater(ends, step)
            cell, hidden = t.where(runs, new_cell, cell), t.where(runs, new_hidden, hidden)
            outputs[step] = t.where(runs, new_hidden, 0)
    stacked = t.concat([t.unsqueeze(outputs[s], [0, 1]) for s in range(steps)], 0)
    return (stacked, t.unsqueeze(hidden, [0]), t.unsqueeze(cell, [0]))[: len(node.outputs)]


def _clipped(t: Terms, x: Value, limit: float | None) -> Value:
    if not limit:
        return x
    return t.apply(Max(), t.apply(Min(), x, t.like(limit, x)), t.like(-limit, x))
