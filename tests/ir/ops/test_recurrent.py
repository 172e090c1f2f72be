"""RNN, GRU and LSTM: against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.recurrent import GRU, LSTM, RNN
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 6


def _operands(kind: type[Any], directions: int, *, full: bool, peepholes: bool = False) -> list[Any]:
    r = np.random.default_rng(0)
    gates = kind.gates
    operands: list[Any] = [
        floats(r, STEPS, BATCH, INPUT),
        floats(r, directions, gates * HIDDEN, INPUT) / 2,
        floats(r, directions, gates * HIDDEN, HIDDEN) / 2,
    ]
    if full:
        operands += [floats(r, directions, 2 * gates * HIDDEN), np.asarray([5, 2, 4], np.int32)]
        operands += [floats(r, directions, BATCH, HIDDEN) for _ in range(kind.states)]
    if peepholes:
        operands.append(floats(r, directions, 3 * HIDDEN))
    return operands


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_directions_lengths_and_states(kind: Any, full: bool, direction: str) -> None:
    op = kind(hidden_size=HIDDEN, direction=direction)
    operands = _operands(kind, op.directions, full=full)
    check_against_onnxruntime(op, operands, 1 + op.states)


@pytest.mark.parametrize(
    "op",
    [
        RNN(activations=("Relu",), hidden_size=HIDDEN),
        RNN(activations=("LeakyRelu",), activation_alpha=(0.3,), hidden_size=HIDDEN),
        RNN(activations=("Tanh",), clip=0.5, hidden_size=HIDDEN),
        GRU(linear_before_reset=1, hidden_size=HIDDEN),
        GRU(activations=("HardSigmoid", "Softsign"), activation_alpha=(0.25,), activation_beta=(0.4,), hidden_size=HIDDEN),
        LSTM(input_forget=1, hidden_size=HIDDEN),
        LSTM(activations=("Sigmoid", "Tanh", "Relu"), clip=1.5, hidden_size=HIDDEN),
    ],
)
def test_variants(op: Any) -> None:
    check_against_onnxruntime(op, _operands(type(op), 1, full=True), 1 + op.states)


def test_peepholes() -> None:
    check_against_onnxruntime(LSTM(hidden_size=HIDDEN), _operands(LSTM, 1, full=True, peepholes=True), 3)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_batch_first_layout_is_a_transpose(kind: Any) -> None:
    operands = _operands(kind, 2, full=False)
    plain = kind(hidden_size=HIDDEN, direction="bidirectional").evaluate(*operands)
    op = kind(hidden_size=HIDDEN, direction="bidirectional", layout=1)
    turned = op.evaluate(operands[0].swapaxes(0, 1), *operands[1:])
    np.testing.assert_array_equal(turned[0], plain[0].transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(turned[1], plain[1].swapaxes(0, 1))


def test_symbolic_shapes() -> None:
    steps, batch = symbol("steps"), symbol("batch")
    x = TensorType(DType.FLOAT, (steps, batch, INPUT))
    w, r = TensorType(DType.FLOAT, (2, 24, INPUT)), TensorType(DType.FLOAT, (2, 24, HIDDEN))
    types = infer_types(LSTM(direction="bidirectional"), [x, w, r], 3)
    assert [str(t) for t in types] == ["f32[steps, 2, batch, 6]", "f32[2, batch, 6]", "f32[2, batch, 6]"]
    types = infer_types(LSTM(direction="bidirectional", layout=1), [x, w, r], 2)
    assert [str(t) for t in types] == ["f32[steps, batch, 2, 6]", "f32[steps, 2, 6]"]


def test_errors() -> None:
    x = TensorType(DType.FLOAT, (5, 3, INPUT))
    w, r = TensorType(DType.FLOAT, (1, 24, INPUT)), TensorType(DType.FLOAT, (1, 24, HIDDEN))
    with pytest.raises(Diagnostic, match=r"rows of W and 4 \* hidden_size: 24 and 20"):
        LSTM(hidden_size=5).infer(x, w, TensorType(DType.FLOAT, (1, 20, 5)))
    with pytest.raises(Diagnostic, match="directions of W .* 1 and 2"):
        LSTM(direction="bidirectional").infer(x, w, r)
    with pytest.raises(Diagnostic, match="direction is 'backward'"):
        LSTM(direction="backward").infer(x, w, r)
    with pytest.raises(Diagnostic, match="activation 'Swish' is not known"):
        LSTM(activations=("Swish", "Tanh", "Tanh")).infer(x, w, r)
    with pytest.raises(Diagnostic, match="sequence_lens must be i32"):
        LSTM().infer(x, w, r, None, TensorType(DType.INT64, (3,)))
