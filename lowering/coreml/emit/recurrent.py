"""Recurrent networks: LSTMs by MIL's operator, everything else written out step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.recurrent import GRU, LSTM, RNN
from .context import Emission
from .steps import Cell, activation_names, cell_of
from .translation import Obstacle, every, translates

LONGEST = 256
"""The longest sequence that is written out."""
_FUNCTIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}


def _layout(node: Node) -> Obstacle | None:
    op: Any = node.op
    if op.layout:
        return Obstacle("attribute", "layout=1 is transposed first")
    return None


def _constant_weights(node: Node) -> Obstacle | None:
    for index, name in ((1, "W"), (2, "R"), (3, "B")):
        value = node.operand(index)
        if value is not None and value.data is None:
            return Obstacle("dynamic-parameter", f"MIL wants the weights {name} as constants")
    return None


def _plain(node: Node) -> Obstacle | None:
    op, peepholes = node.op, node.operand(7)
    assert isinstance(op, LSTM)
    if node.operand(4) is not None:
        return Obstacle("attribute", "MIL's lstm has no sequence_lens")
    if op.clip or op.input_forget:
        return Obstacle("attribute", "MIL's lstm clips the cell alone and keeps input and forget gates apart")
    if peepholes is not None and peepholes.data is None:
        return Obstacle("dynamic-parameter", "MIL wants the peepholes as constants")
    if any(name not in _FUNCTIONS for name, _, _ in activation_names(op)):
        return Obstacle("attribute", "activations that MIL's lstm does not have, or whose parameters it does not take")
    return None


def _steps_known(node: Node) -> Obstacle | None:
    x = node.inputs[0]
    steps = x.shape[0] if x is not None and x.shape is not None else None
    if not isinstance(steps, int):
        return Obstacle("dynamic-shape", "a recurrence that is written out needs a known number of steps")
    if steps > LONGEST:
        return Obstacle("size-limit", f"more than {LONGEST} steps are not written out")
    return None


@translates(LSTM, when=every(_layout, _constant_weights, _plain))
def lstm(e: Emission, node: Node) -> None:
    """MIL's lstm for each direction; the backward one runs on the reversed sequence."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, LSTM)
    hidden = _hidden(node)
    states = [initial_states(e, node, index, hidden) for index in (5, 6)]
    sequences, finals = [], []
    for direction in range(op.directions):
        backward = op.direction == "reverse" or direction == 1
        names = [name for name, _, _ in activation_names(op)[3 * direction : 3 * direction + 3]]
        operand = e.mil.reverse(x=x, axes=[0]) if backward else x
        y, h, c = e.mil.lstm(
            x=operand,
            initial_h=states[0][direction],
            initial_c=states[1][direction],
            direction="forward",
            output_sequence=True,
            recurrent_activation=names[0],
            cell_activation=names[1],
            activation=names[2],
            **_lstm_weights(e, node, direction, hidden),
        )
        sequences.append(e.mil.reverse(x=y, axes=[0]) if backward else y)
        finals.append((h, c))
    bind_results(e, node, sequences, list(zip(*finals, strict=True)))


def _lstm_weights(e: Emission, node: Node, direction: int, hidden: int) -> dict[str, Any]:
    """The weights of one direction with the gates in MIL's order: input, forget, output, cell (ONNX has input, output, forget, cell)."""

    def ordered(array: Any, order: Sequence[int]) -> Any:
        return np.ascontiguousarray(np.concatenate([array[k * hidden : (k + 1) * hidden] for k in order]))

    gates = (0, 2, 1, 3)
    found = {"weight_ih": ordered(e.known(node, 1)[direction], gates), "weight_hh": ordered(e.known(node, 2)[direction], gates)}
    bias = e.known(node, 3)
    if bias is not None:
        found["bias"] = ordered(bias[direction][: 4 * hidden] + bias[direction][4 * hidden :], gates)
    peepholes = e.known(node, 7)
    if peepholes is not None:
        found["peephole"] = ordered(peepholes[direction], (0, 2, 1))
    return found


def _hidden(node: Node) -> int:
    recurrence = node.inputs[2]
    assert recurrence is not None and recurrence.shape is not None
    return int(recurrence.shape[2])


def initial_states(e: Emission, node: Node, index: int, hidden: int) -> list[Any]:
    """The initial state of each direction as ``[batch, hidden]``: zeros where there is none."""
    op: Any = node.op
    if node.operand(index) is not None:
        given = e.operand(node, index)
        if op.directions == 1:
            return [e.mil.squeeze(x=given, axes=[0])]
        return [e.mil.squeeze(x=part, axes=[0]) for part in e.mil.split(x=given, num_splits=2, axis=0)]
    x = e.operand(node)
    batch = node.inputs[0].shape[1]  # type: ignore[index,union-attr]
    if isinstance(batch, int):
        zeros = e.const(np.zeros((batch, hidden), e.like(0, x).dtype))
    else:
        size = e.mil.slice_by_index(x=e.mil.shape(x=x), begin=[1], end=[2])
        zeros = e.mil.fill(shape=e.mil.concat(values=[size, np.array([hidden], np.int32)], axis=0), value=e.like(0, x))
    return [zeros] * op.directions


def bind_results(e: Emission, node: Node, sequences: Sequence[Any], finals: Sequence[Sequence[Any]]) -> None:
    """All steps as ``[steps, directions, batch, hidden]`` and the final states as ``[directions, batch, hidden]``."""
    parts = [e.mil.expand_dims(x=y, axes=[1]) for y in sequences]
    results = [parts[0] if len(parts) == 1 else e.mil.concat(values=parts, axis=1)]
    for states in finals:
        rows = [e.mil.expand_dims(x=state, axes=[0]) for state in states]
        results.append(rows[0] if len(rows) == 1 else e.mil.concat(values=rows, axis=0))
    e.bind(node, *results[: len(node.outputs)])


@translates(LSTM, GRU, RNN, when=every(_layout, _steps_known), level="decomposed")
def written_out(e: Emission, node: Node) -> None:
    """Each step in small operators: the documentation of MIL's gru leaves its biases open."""
    op: Any = node.op
    hidden, steps = _hidden(node), int(node.inputs[0].shape[0])  # type: ignore[index,union-attr]
    starts = [initial_states(e, node, index, hidden) for index in ((5, 6) if isinstance(op, LSTM) else (5,))]
    lengths = e.operand(node, 4)
    if lengths is not None:
        lengths = e.mil.expand_dims(x=lengths, axes=[1])
    sequences, finals = [], []
    for direction in range(op.directions):
        backward = op.direction == "reverse" or direction == 1
        cell = cell_of(e, node, direction, hidden)
        states = [start[direction] for start in starts]
        rows: dict[int, Any] = {}
        for step in reversed(range(steps)) if backward else range(steps):
            states, rows[step] = _advance(e, cell, node, step, states, lengths)
        ordered = [e.mil.expand_dims(x=rows[step], axes=[0]) for step in range(steps)]
        sequences.append(e.mil.concat(values=ordered, axis=0) if steps > 1 else ordered[0])
        finals.append(states)
    bind_results(e, node, sequences, list(zip(*finals, strict=True)))


def _advance(e: Emission, cell: Cell, node: Node, step: int, states: list[Any], lengths: Any) -> tuple[list[Any], Any]:
    """The states after one step, and the row of the result; rows beyond a sequence's length keep the states and give zeros."""
    new = cell.step(step, states)
    if lengths is None:
        return new, new[0]
    running = e.mil.less(x=np.int32(step), y=lengths)
    mask = e.cast(running, e.kind(new[0]))
    kept = [
        e.mil.add(x=e.mil.mul(x=mask, y=n), y=e.mil.mul(x=e.mil.sub(x=e.like(1, mask), y=mask), y=old))
        for n, old in zip(new, states, strict=True)
    ]
    return kept, e.mil.mul(x=mask, y=new[0])
