"""Recurrent networks: RNN, GRU, LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import attribute_error, dtype_error, unify_dim
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_equal, require_rank, shape_of, unresolved

_DIRECTIONS = ("forward", "reverse", "bidirectional")
_LOGISTIC = {"affine": (1.0, 0.0), "hardsigmoid": (0.2, 0.5), "scaledtanh": (1.0, 1.0)}  # take alpha and beta
_SLOPED = {"leakyrelu": 0.01, "thresholdedrelu": 1.0, "elu": 1.0}  # take alpha
_PLAIN: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
}


def _activation(name: str, alpha: float, beta: float) -> Callable[[Array], Array]:
    if name == "affine":
        return lambda x: alpha * x + beta
    if name == "hardsigmoid":
        return lambda x: np.clip(alpha * x + beta, 0, 1)
    if name == "scaledtanh":
        return lambda x: alpha * np.tanh(beta * x)
    if name == "leakyrelu":
        return lambda x: np.where(x >= 0, x, alpha * x)
    if name == "thresholdedrelu":
        return lambda x: np.where(x > alpha, x, 0)
    return lambda x: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


class Recurrent(Op, abstract=True):
    """What RNN, GRU and LSTM share. ``gates`` is the number of weight blocks, ``states`` 2 when there is a cell state."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    default_activations: ClassVar[tuple[str, ...]]
    activation_alpha: tuple[float, ...] | None
    activation_beta: tuple[float, ...] | None
    activations: tuple[str, ...] | None
    clip: float | None
    direction: str
    hidden_size: int | None
    layout: int

    @property
    def directions(self) -> int:
        """2 for bidirectional, else 1."""
        return 2 if self.direction == "bidirectional" else 1

    def _infer(self, x: Any, w: Any, r: Any, vectors: Sequence[tuple[str, Any, int]], lengths: Any, initial: Sequence[Any]) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if self.direction not in _DIRECTIONS:
            raise attribute_error(f"direction is {self.direction!r}", hint="choose one of: " + ", ".join(_DIRECTIONS))
        self._functions()
        dtype = float_dtype(x, w, r, *(v for _, v, _ in vectors), *initial)
        if type(lengths) is TensorType and lengths.dtype is not DType.INT32:
            raise dtype_error(f"sequence_lens must be i32, not {lengths.dtype}")
        shape, weight, recurrence = require_rank(x, 3, "X"), require_rank(w, 3, "W"), require_rank(r, 3, "R")
        hidden: Any = self.hidden_size
        if recurrence is not None:
            hidden = unify_dim(hidden, recurrence[2], "hidden_size and the columns of R")
        if type(hidden) is int:
            for name, operand in (("W", weight), ("R", recurrence)):
                if operand is not None:
                    require_equal(operand[0], self.directions, f"directions of {name} and of the attribute")
                    require_equal(operand[1], self.gates * hidden, f"rows of {name} and {self.gates} * hidden_size")
            for name, operand, blocks in vectors:
                own = require_rank(operand, 2, name)
                if own is not None:
                    require_equal(own[1], blocks * hidden, f"columns of {name} and {blocks} * hidden_size")
        if shape is not None and weight is not None:
            require_equal(shape[2], weight[2], "input size of X and W")
        steps: Any = None
        batch: Any = None
        if shape is not None:
            steps, batch = (shape[1], shape[0]) if self.layout else (shape[0], shape[1])
        known_lengths = shape_of(lengths)
        if known_lengths:
            require_equal(known_lengths[0], batch, "elements of sequence_lens and the batch")
        n = self.directions
        y = (batch, steps, n, hidden) if self.layout else (steps, n, batch, hidden)
        last = TensorType(dtype, (batch, n, hidden) if self.layout else (n, batch, hidden))
        return (TensorType(dtype, y), *(last,) * self.states)

    def _functions(self) -> list[Callable[[Array], Array]]:
        """The activation functions of all directions; alphas and betas go in order to those that take them."""
        names = self.activations or self.default_activations * self.directions
        expected = len(self.default_activations) * self.directions
        if len(names) < expected:
            raise attribute_error(f"activations {list(names)} should name {expected} functions")
        alphas, betas = list(self.activation_alpha or ()), list(self.activation_beta or ())
        functions: list[Callable[[Array], Array]] = []
        for name in names[:expected]:
            key = name.lower()
            if key in _PLAIN:
                functions.append(_PLAIN[key])
                continue
            if key not in _LOGISTIC and key not in _SLOPED:
                raise attribute_error(f"the activation {name!r} is not known")
            alpha, beta = _LOGISTIC.get(key, (_SLOPED.get(key, 0.0), 0.0))
            alpha = alphas.pop(0) if alphas else alpha
            if key in _LOGISTIC:
                beta = betas.pop(0) if betas else beta
            functions.append(_activation(key, alpha, beta))
        return functions

    def _run(
        self, x: Array, w: Array, r: Array, lengths: Array | None, initial: Sequence[Array | None], make_step: Any
    ) -> tuple[Array, ...]:
        """Run all directions; ``make_step(direction, functions)`` gives ``step(projected, states) -> states``."""
        wide = widened(x)
        series = wide.swapaxes(0, 1) if self.layout else wide
        steps, batch = series.shape[:2]
        hidden, n = r.shape[2], self.directions
        per_direction = len(self.default_activations)
        functions = self._functions()
        y = np.zeros((steps, n, batch, hidden), wide.dtype)
        final = [np.zeros((n, batch, hidden), wide.dtype) for _ in range(self.states)]
        for d in range(n):
            backwards = self.direction == "reverse" or d == 1
            order = _time_order(steps, batch, lengths, backwards)
            projected = np.take_along_axis(series, order[:, :, None], axis=0) @ widened(w)[d].T
            states = []
            for given in initial:
                start = None if given is None else widened(given)[:, d] if self.layout else widened(given)[d]
                states.append(np.zeros((batch, hidden), wide.dtype) if start is None else start)
            step = make_step(d, functions[d * per_direction : (d + 1) * per_direction])
            seen = np.empty((steps, batch, hidden), wide.dtype)
            for t in range(steps):
                fresh = step(projected[t], states)
                if lengths is not None:
                    alive = (t < lengths)[:, None]
                    fresh = [np.where(alive, new, old) for new, old in zip(fresh, states, strict=True)]
                    seen[t] = np.where(alive, fresh[0], 0)
                else:
                    seen[t] = fresh[0]
                states = fresh
            back = np.take_along_axis(seen, order[:, :, None], axis=0)
            y[:, d] = back
            for kept, state in zip(final, states, strict=True):
                kept[d] = state
        if self.layout:
            y, final = y.transpose(2, 0, 1, 3), [f.swapaxes(0, 1) for f in final]
        return tuple(rounded(a, x.dtype) for a in (y, *final))

    def _clipped(self, x: Array) -> Array:
        return x if not self.clip else np.clip(x, -self.clip, self.clip)


def _time_order(steps: int, batch: int, lengths: Array | None, backwards: bool) -> Array:
    """For each step and batch element the position it reads: reversal turns only the valid part around (an involution)."""
    times = np.broadcast_to(np.arange(steps)[:, None], (steps, batch))
    if not backwards:
        return times
    valid = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    return np.where(times < valid, valid - 1 - times, times)


def _biases(b: Array | None, direction: int, size: int, dtype: Any) -> tuple[Array, Array]:
    """The input and the recurrent bias of one direction."""
    if b is None:
        zero = np.zeros(size, dtype)
        return zero, zero
    row = widened(b)[direction]
    return row[:size], row[size:]


@dataclass(frozen=True)
class RNN(Recurrent):
    """``h = f(X W' + h R' + Wb + Rb)``; results Y and Y_h."""

    activation_alpha: tuple[float, ...] | None = None
    activation_beta: tuple[float, ...] | None = None
    activations: tuple[str, ...] | None = ("Tanh", "Tanh")
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    layout: int = 0
    outputs = 2
    gates = 1
    default_activations = ("Tanh",)

    def infer(
        self,
        x: TensorType,
        w: TensorType,
        r: TensorType,
        b: TensorType | None = None,
        sequence_lens: TensorType | None = None,
        initial_h: TensorType | None = None,
    ) -> Any:
        return self._infer(x, w, r, (("B", b, 2),), sequence_lens, (initial_h,))

    def evaluate(
        self,
        x: Array,
        w: Array,
        r: Array,
        b: Array | None = None,
        sequence_lens: Array | None = None,
        initial_h: Array | None = None,
    ) -> tuple[Array, ...]:
        def make_step(d: int, functions: list[Any]) -> Any:
            recurrence = widened(r)[d].T
            bias = sum(_biases(b, d, r.shape[2], recurrence.dtype))

            def step(projected: Array, states: list[Array]) -> list[Array]:
                return [functions[0](self._clipped(projected + states[0] @ recurrence + bias))]

            return step

        return self._run(x, w, r, sequence_lens, (initial_h,), make_step)


@dataclass(frozen=True)
class GRU(Recurrent):
    """Gated recurrent unit, gates in the order update, reset, hidden; results Y and Y_h."""

    activation_alpha: tuple[float, ...] | None = None
    activation_beta: tuple[float, ...] | None = None
    activations: tuple[str, ...] | None = None
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    layout: int = 0
    linear_before_reset: int = 0
    outputs = 2
    gates = 3
    default_activations = ("Sigmoid", "Tanh")

    def infer(
        self,
        x: TensorType,
        w: TensorType,
        r: TensorType,
        b: TensorType | None = None,
        sequence_lens: TensorType | None = None,
        initial_h: TensorType | None = None,
    ) -> Any:
        return self._infer(x, w, r, (("B", b, 6),), sequence_lens, (initial_h,))

    def evaluate(
        self,
        x: Array,
        w: Array,
        r: Array,
        b: Array | None = None,
        sequence_lens: Array | None = None,
        initial_h: Array | None = None,
    ) -> tuple[Array, ...]:
        hidden = r.shape[2]

        def make_step(d: int, functions: list[Any]) -> Any:
            recurrence = widened(r)[d].T
            input_bias, state_bias = _biases(b, d, 3 * hidden, recurrence.dtype)
            gated, last = recurrence[:, : 2 * hidden], recurrence[:, 2 * hidden :]
            gate_bias = input_bias[: 2 * hidden] + state_bias[: 2 * hidden]
            last_input, last_state = input_bias[2 * hidden :], state_bias[2 * hidden :]

            def step(projected: Array, states: list[Array]) -> list[Array]:
                (h,) = states
                both = functions[0](self._clipped(projected[:, : 2 * hidden] + h @ gated + gate_bias))
                update, reset = both[:, :hidden], both[:, hidden:]
                if self.linear_before_reset:
                    inner = reset * (h @ last + last_state)
                else:
                    inner = (reset * h) @ last + last_state
                candidate = functions[1](self._clipped(projected[:, 2 * hidden :] + inner + last_input))
                return [(1 - update) * candidate + update * h]

            return step

        return self._run(x, w, r, sequence_lens, (initial_h,), make_step)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory, gates in the order input, output, forget, cell; results Y, Y_h and Y_c."""

    activation_alpha: tuple[float, ...] | None = None
    activation_beta: tuple[float, ...] | None = None
    activations: tuple[str, ...] | None = None
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    input_forget: int = 0
    layout: int = 0
    outputs = 3
    gates = 4
    states = 2
    default_activations = ("Sigmoid", "Tanh", "Tanh")

    def infer(
        self,
        x: TensorType,
        w: TensorType,
        r: TensorType,
        b: TensorType | None = None,
        sequence_lens: TensorType | None = None,
        initial_h: TensorType | None = None,
        initial_c: TensorType | None = None,
        p: TensorType | None = None,
    ) -> Any:
        return self._infer(x, w, r, (("B", b, 8), ("P", p, 3)), sequence_lens, (initial_h, initial_c))

    def evaluate(
        self,
        x: Array,
        w: Array,
        r: Array,
        b: Array | None = None,
        sequence_lens: Array | None = None,
        initial_h: Array | None = None,
        initial_c: Array | None = None,
        p: Array | None = None,
    ) -> tuple[Array, ...]:
        hidden = r.shape[2]

        def make_step(d: int, functions: list[Any]) -> Any:
            recurrence = widened(r)[d].T
            bias = sum(_biases(b, d, 4 * hidden, recurrence.dtype))
            peep_input, peep_output, peep_forget = (
                np.zeros((3, hidden), recurrence.dtype) if p is None else widened(p)[d].reshape(3, hidden)
            )

            def step(projected: Array, states: list[Array]) -> list[Array]:
                h, c = states
                blocks = projected + h @ recurrence + bias
                i, o, f, g = (blocks[:, n * hidden : (n + 1) * hidden] for n in range(4))
                i = functions[0](self._clipped(i + peep_input * c))
                f = 1 - i if self.input_forget else functions[0](self._clipped(f + peep_forget * c))
                cell = f * c + i * functions[1](self._clipped(g))
                o = functions[0](self._clipped(o + peep_output * cell))
                return [o * functions[2](cell), cell]

            return step

        return self._run(x, w, r, sequence_lens, (initial_h, initial_c), make_step)
