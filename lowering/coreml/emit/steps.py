"""One step of a recurrence in small MIL operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.recurrent import GRU, LSTM
from .activation import next_number
from .context import Emission

_PARAMETERS = {"affine": (1.0, 0.0), "hardsigmoid": (0.2, 0.5), "scaledtanh": (1.0, 1.0)}
_SLOPES = {"leakyrelu": 0.01, "thresholdedrelu": 1.0, "elu": 1.0}


def activation_names(op: Any) -> list[tuple[str, float, float]]:
    """The activations of all directions in lower case, with the alphas and betas of those that take them."""
    names = [n.lower() for n in op.activations or op.default_activations * op.directions]
    alphas, betas = list(op.activation_alpha or ()), list(op.activation_beta or ())
    found = []
    for name in names[: len(op.default_activations) * op.directions]:
        alpha, beta = _PARAMETERS.get(name, (_SLOPES.get(name, 0.0), 0.0))
        if name in _PARAMETERS or name in _SLOPES:
            alpha = alphas.pop(0) if alphas else alpha
        if name in _PARAMETERS:
            beta = betas.pop(0) if betas else beta
        found.append((name, alpha, beta))
    return found


class Cell(ABC):
    """A recurrent cell of one direction."""

    def __init__(self, e: Emission, node: Node, direction: int, hidden: int) -> None:
        self.e, self.op, self.hidden = e, node.op, hidden
        op: Any = node.op
        count = len(op.default_activations)
        self._functions = activation_names(op)[count * direction : count * (direction + 1)]
        self.x = e.operand(node)
        self.weight = self.parameter(node, 1, direction)
        self.recurrence = self.parameter(node, 2, direction)
        rows = int(self.weight.shape[0])
        if node.operand(3) is None:
            self.input_bias: Any = np.zeros(rows, e.like(0, self.x).dtype)
            self.state_bias: Any = self.input_bias
        else:
            bias = self.parameter(node, 3, direction)
            self.input_bias, self.state_bias = self.rows(bias, 0, rows), self.rows(bias, rows, 2 * rows)

    @abstractmethod
    def step(self, position: int, states: list[Any]) -> list[Any]:
        """The states after one position of the sequence."""

    def parameter(self, node: Node, index: int, direction: int) -> Any:
        """The weights of one direction: an array when they are known, else a variable."""
        known = self.e.known(node, index)
        if known is not None:
            return known[direction]
        given = self.e.operand(node, index)
        rest = len(given.shape) - 1
        mask = [False, *(True,) * rest]
        begin, end = [direction, *(0,) * rest], [direction + 1, *(0,) * rest]
        squeeze = [True, *(False,) * rest]
        return self.e.mil.slice_by_index(x=given, begin=begin, end=end, begin_mask=mask, end_mask=mask, squeeze_mask=squeeze)

    def rows(self, array: Any, start: int, end: int) -> Any:
        """Some rows of a parameter."""
        if isinstance(array, np.ndarray):
            return array[start:end]
        rest = len(array.shape) - 1
        mask = [False, *(True,) * rest]
        return self.e.mil.slice_by_index(x=array, begin=[start, *(0,) * rest], end=[end, *(0,) * rest], begin_mask=mask, end_mask=mask)

    def sum(self, x: Any, y: Any) -> Any:
        """The sum of two parameters."""
        return x + y if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) else self.e.mil.add(x=x, y=y)

    def row(self, position: int) -> Any:
        """The operand at one position: ``[batch, inputs]``."""
        rank = 3
        mask = [True] * (rank - 1)
        begin, end = [position, 0, 0], [position + 1, 0, 0]
        return self.e.mil.slice_by_index(
            x=self.x, begin=begin, end=end, begin_mask=[False, *mask], end_mask=[False, *mask], squeeze_mask=[True, False, False]
        )

    def product(self, x: Any, weight: Any, bias: Any) -> Any:
        """``x @ weight.T + bias``; the bias may be absent."""
        if isinstance(weight, np.ndarray) and (bias is None or isinstance(bias, np.ndarray)):
            fixed = None if bias is None else np.ascontiguousarray(bias)
            return self.e.mil.linear(x=x, weight=np.ascontiguousarray(weight), bias=fixed)
        product = self.e.mil.matmul(x=x, y=weight, transpose_x=False, transpose_y=True)
        return product if bias is None else self.e.mil.add(x=product, y=bias)

    def block(self, array: Any, index: int) -> Any:
        """The rows of one gate."""
        return self.rows(array, index * self.hidden, (index + 1) * self.hidden)

    def act(self, index: int, x: Any) -> Any:
        """One activation on a clipped argument."""
        op: Any = self.op
        if op.clip:
            x = self.e.mil.clip(x=x, alpha=self.e.like(-op.clip, x), beta=self.e.like(op.clip, x))
        return self._apply(*self._functions[index], x)

    def _apply(self, name: str, alpha: float, beta: float, x: Any) -> Any:
        e, mil = self.e, self.e.mil
        a, b = e.like(alpha, x), e.like(beta, x)
        if name == "affine":
            return mil.add(x=mil.mul(x=x, y=a), y=b)
        if name == "hardsigmoid":
            return mil.sigmoid_hard(x=x, alpha=a, beta=b)
        if name == "scaledtanh":
            return mil.mul(x=mil.tanh(x=mil.mul(x=x, y=b)), y=a)
        if name == "thresholdedrelu":
            return mil.thresholded_relu(x=x, alpha=next_number(a))
        if name in ("leakyrelu", "elu"):
            return (mil.leaky_relu if name == "leakyrelu" else mil.elu)(x=x, alpha=a)
        return getattr(mil, name)(x=x)

    def split(self, gates: Any, count: int) -> Any:
        """The gates apart."""
        return self.e.mil.split(x=gates, num_splits=count, axis=1)


class PlainCell(Cell):
    """``h = f(W x + R h + b)``."""

    def step(self, position: int, states: list[Any]) -> list[Any]:
        inner = self.product(self.row(position), self.weight, self.sum(self.input_bias, self.state_bias))
        hidden = self.product(states[0], self.recurrence, None)
        return [self.act(0, self.e.mil.add(x=inner, y=hidden))]


class GatedCell(Cell):
    """GRU: update, reset and candidate."""

    def step(self, position: int, states: list[Any]) -> list[Any]:
        op, mil, h = self.op, self.e.mil, states[0]
        assert isinstance(op, GRU)
        inputs = self.split(self.product(self.row(position), self.weight, self.input_bias), 3)
        update = self.act(0, mil.add(x=inputs[0], y=self._state(h, 0)))
        reset = self.act(0, mil.add(x=inputs[1], y=self._state(h, 1)))
        if op.linear_before_reset:
            inner = mil.mul(x=reset, y=self._state(h, 2))
        else:
            inner = self._state(mil.mul(x=reset, y=h), 2)
        candidate = self.act(1, mil.add(x=inputs[2], y=inner))
        return [mil.add(x=mil.mul(x=mil.sub(x=self.e.like(1, h), y=update), y=candidate), y=mil.mul(x=update, y=h))]

    def _state(self, h: Any, gate: int) -> Any:
        return self.product(h, self.block(self.recurrence, gate), self.block(self.state_bias, gate))


class MemoryCell(Cell):
    """LSTM with peepholes, clipping and coupled gates."""

    def __init__(self, e: Emission, node: Node, direction: int, hidden: int) -> None:
        super().__init__(e, node, direction, hidden)
        self.peepholes = None if node.operand(7) is None else self.parameter(node, 7, direction)

    def step(self, position: int, states: list[Any]) -> list[Any]:
        op, mil, (h, c) = self.op, self.e.mil, states
        assert isinstance(op, LSTM)
        inner = self.product(self.row(position), self.weight, self.sum(self.input_bias, self.state_bias))
        gates = mil.add(x=inner, y=self.product(h, self.recurrence, None))
        entry, exit_, forget, candidate = self.split(gates, 4)
        entry = self.act(0, self._peep(entry, 0, c))
        kept = mil.sub(x=self.e.like(1, c), y=entry) if op.input_forget else self.act(0, self._peep(forget, 2, c))
        cell = mil.add(x=mil.mul(x=kept, y=c), y=mil.mul(x=entry, y=self.act(1, candidate)))
        out = self.act(0, self._peep(exit_, 1, cell))
        return [mil.mul(x=out, y=self._apply(*self._functions[2], cell)), cell]

    def _peep(self, gate: Any, index: int, c: Any) -> Any:
        if self.peepholes is None:
            return gate
        return self.e.mil.add(x=gate, y=self.e.mil.mul(x=c, y=self.block(self.peepholes, index)))


def cell_of(e: Emission, node: Node, direction: int, hidden: int) -> Cell:
    """The cell of one direction of a recurrent node."""
    kind = MemoryCell if isinstance(node.op, LSTM) else GatedCell if isinstance(node.op, GRU) else PlainCell
    return kind(e, node, direction, hidden)
