"""Recurrent layers over ``x [sequence, batch, input]``.

A layer that runs in reverse gives its sequence of states in the order in which it made them: the first one belongs to the last input.
Of a bidirectional layer both directions are given in the order of the input. (The operators' documentation does not say so; the
tests of coremltools, which Apple runs on devices, do.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import logistic
from .errors import unsupported
from .registry import operator
from .values import Array


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1)


# The layers give these no parameters; with their standard ones a scaled tanh is tanh.
_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "hard_sigmoid": _hard_sigmoid,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "scaled_tanh": np.tanh,
    "sigmoid": logistic,
    "sigmoid_hard": _hard_sigmoid,
    "tanh": np.tanh,
}


def _function(name: str) -> Callable[[Array], Array]:
    """An activation by name."""
    known = _FUNCTIONS.get(name.lower())
    return known if known is not None else unsupported(f"its activation is '{name}'")


def _projected(x: Array, weight: Array, bias: Array | None) -> Array:
    y = np.matmul(x, weight.T)
    return y if bias is None else y + bias


def _steps(x: Array, direction: str) -> list[int]:
    """The order in which positions are processed."""
    if direction not in ("forward", "reverse"):
        unsupported(f"its direction is '{direction}'")
    order = list(range(len(x)))
    return order if direction == "forward" else order[::-1]


def _outputs(states: list[Array], final: Array, output_sequence: Any) -> Array:
    """Every state, in the order in which they were made, or the last one alone."""
    return np.stack(states) if bool(output_sequence) else final[None]


@operator("rnn")
def rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    activation: str = "tanh",
) -> tuple[Array, Array]:
    """``h = activation(W x + R h + b)``."""
    act, inputs, h, states = _function(activation), _projected(x, weight_ih, bias), initial_h, []
    for t in _steps(x, direction):
        h = act(inputs[t] + np.matmul(h, weight_hh.T))
        states.append(h)
    return _outputs(states, h, output_sequence), h


@operator("gru")
def gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Any = False,
    input_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Gates in the order reset, output, update; the reset gate is applied to the state before its product."""
    if bool(reset_after) or input_bias is not None:
        unsupported("the documentation of reset_after and input_bias does not say what they compute")
    gate, act, size = _function(recurrent_activation), _function(activation), initial_h.shape[-1]
    inputs, h, states = _projected(x, weight_ih, bias), initial_h, []
    reset_weight, output_weight, update_weight = (weight_hh[i * size : (i + 1) * size].T for i in range(3))
    for t in _steps(x, direction):
        r_in, o_in, z_in = np.split(inputs[t], 3, -1)
        r = gate(r_in + np.matmul(h, reset_weight))
        z = gate(z_in + np.matmul(h, update_weight))
        o = act(o_in + np.matmul(r * h, output_weight))
        h = (1 - z) * o + z * h
        states.append(h)
    return _outputs(states, h, output_sequence), h


@operator("lstm")
def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Any = None,
) -> tuple[Array, Array, Array]:
    """Gates in the order input, forget, output, cell; of two directions the results lie side by side along the last axis.

    ``clip`` limits the cell.
    """
    functions = _function(recurrent_activation), _function(cell_activation), _function(activation)
    limit = np.float32(np.inf) if clip is None else np.float32(clip)
    if direction != "bidirectional":
        states, h, c = _lstm(x, initial_h, initial_c, weight_ih, weight_hh, bias, peephole, direction, functions, limit)
        return _outputs(states, h, output_sequence), h, c
    if weight_ih_back is None or weight_hh_back is None:
        unsupported("it has no weights for the backward direction")
    half = initial_h.shape[-1] // 2
    states, h, c = _lstm(x, initial_h[:, :half], initial_c[:, :half], weight_ih, weight_hh, bias, peephole, "forward", functions, limit)
    backward = (weight_ih_back, weight_hh_back, bias_back, peephole_back)
    back_states, back_h, back_c = _lstm(x, initial_h[:, half:], initial_c[:, half:], *backward, "reverse", functions, limit)
    both = [np.concatenate(pair, -1) for pair in zip(states, back_states[::-1], strict=True)]
    final_h, final_c = np.concatenate((h, back_h), -1), np.concatenate((c, back_c), -1)
    return _outputs(both, final_h, output_sequence), final_h, final_c


def _lstm(
    x: Array,
    h: Array,
    c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None,
    peephole: Array | None,
    direction: str,
    functions: tuple[Any, Any, Any],
    limit: Any,
) -> tuple[list[Array], Array, Array]:
    """The states in the order of processing, the last state and the last cell."""
    gate, cell_function, output_function = functions
    inputs, states = _projected(x, weight_ih, bias), []
    p_in, p_forget, p_out = np.split(peephole, 3) if peephole is not None else (np.float32(0),) * 3
    for t in _steps(x, direction):
        i, f, o, z = np.split(inputs[t] + np.matmul(h, weight_hh.T), 4, -1)
        i, f = gate(i + p_in * c), gate(f + p_forget * c)
        c = np.clip(f * c + i * cell_function(z), -limit, limit)
        h = gate(o + p_out * c) * output_function(c)
        states.append(h)
    return states, h, c
