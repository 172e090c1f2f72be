"""Recurrent layers written out step by step, or as a Scan over long ones, for targets without a kernel for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value, constant, int64s
from ...ir.op import Op
from ...ir.ops.activation import Elu, HardSigmoid, LeakyRelu, Relu, Softplus, Softsign, ThresholdedRelu
from ...ir.ops.control import Scan
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ...ir.types import TensorType
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

LONGEST = 256  # the longest sequence that is written out; longer ones are scanned
HEAVY_STEP = 1 << 19  # bytes of recurrent weights from which …
HEAVY_LAYER = 16 << 20  # … and of those of all steps together, a layer is scanned: the target decides whether to write it out
ALPHAS = {"affine": 1.0, "hardsigmoid": 0.2, "scaledtanh": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "elu": 1.0}
BETAS = {"affine": 0.0, "hardsigmoid": 0.5, "scaledtanh": 1.0}
PLAIN: dict[str, Callable[[], Op]] = {"relu": Relu, "softsign": Softsign, "softplus": Softplus}
Function = Callable[[Value], Value]
Step = Callable[[Value, list[Value]], list[Value]]


@decomposes(RNN, GRU, LSTM, name="recurrent-steps", group="decompose-recurrent", targeted=True, benefit=0)
def recurrent_steps(node: Node, t: Terms) -> Result:
    """One product for the inputs of all steps, then the recurrence; states stay ``[1, batch, hidden]`` throughout."""
    op: Any = node.op
    x, r = node.inputs[0], node.inputs[2]
    assert x is not None and r is not None
    steps = x.shape[0] if x.shape is not None else None
    hidden = r.shape[2] if r.shape is not None else None
    if op.layout:
        return None
    if steps is None or steps == 0:
        return Decline("the rank of the sequence is not known, or it is empty")
    if not isinstance(hidden, int):
        return Decline("the number of hidden units is not known")
    layer = _Layer(op, node, t, steps, hidden)
    runs = [layer.run(direction) for direction in range(op.directions)]
    series = t.concat([t.unsqueeze(outputs, [1]) for outputs, _ in runs], 1)
    finals = [t.concat([states[i] for _, states in runs], 0) for i in range(op.states)]
    return (series, *finals)[: len(node.outputs)]


class _Region:
    """Builds the nodes of a region; what `Terms` needs of a rewriter."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def add(self, op: Op, *operands: Value | None, outputs: int | None = None) -> Any:
        node = self.graph.insert(op, operands, outputs=outputs)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def constant(self, data: Any, dtype: DType | None = None) -> Value:
        return constant(data, self.graph.fresh_name("constant"), dtype)

    def ints(self, values: Sequence[int]) -> Value:
        return int64s(values, self.graph.fresh_name("constant"))

    def scalar_like(self, value: Value, number: float) -> Value:
        return self.constant(number, value.tensor.dtype)


def _guarded(t: Terms, fresh: list[Value], states: list[Value], ends: Value | None, time: Value | int) -> tuple[list[Value], Value]:
    """The states after a step and what is seen of it: sequences that have ended keep their states and show zeros."""
    if ends is None:
        return fresh, fresh[0]
    alive = t.greater(ends, time)
    kept = [t.where(alive, new, old) for new, old in zip(fresh, states, strict=True)]
    return kept, t.where(alive, fresh[0], 0)


@dataclass
class _Layer:
    op: Any
    node: Node
    t: Terms
    steps: Dim
    hidden: int

    def _operand(self, index: int, direction: int) -> Value | None:
        """One direction of an operand whose first dimension counts them, kept with the size one."""
        value = self.node.operand(index)
        if value is None or self.op.directions == 1:
            return value
        if value.data is not None:
            return self.t.constant(value.data.numpy()[direction : direction + 1])
        return self.t.slice(value, 0, direction, direction + 1)

    def _blocks(self, value: Value | None, count: int) -> list[Value | None]:
        """The parts of a vector ``[1, count * hidden]``."""
        return [None] * count if value is None else [self._part(value, -1, i, i + 1) for i in range(count)]

    def _part(self, value: Value, axis: int, start: int, stop: int) -> Value:
        """Blocks of ``hidden`` along the first but one or the last axis."""
        first, last = start * self.hidden, stop * self.hidden
        if value.shape is not None and value.shape[axis] == last - first:
            return value
        if value.data is not None:
            return self.t.constant(np.take(value.data.numpy(), np.arange(first, last), axis))
        rank = value.rank
        assert rank is not None
        return self.t.slice(value, axis % rank, first, last)

    def _functions(self) -> list[list[Function]]:
        """The activation functions of each direction."""
        each = len(self.op.default_activations)
        names = list(self.op.activations or self.op.default_activations * self.op.directions)
        alphas, betas = list(self.op.activation_alpha or ()), list(self.op.activation_beta or ())
        made: list[Function] = []
        for name in (n.lower() for n in names[: each * self.op.directions]):
            alpha = (alphas.pop(0) if alphas else ALPHAS[name]) if name in ALPHAS else 0.0
            beta = (betas.pop(0) if betas else BETAS[name]) if name in BETAS else 0.0
            made.append(self._function(name, alpha, beta))
        return [made[i : i + each] for i in range(0, len(made), each)]

    def _function(self, name: str, alpha: float, beta: float) -> Function:
        formulas: dict[str, Function] = {
            "tanh": lambda x: self.t.tanh(x),
            "sigmoid": lambda x: self.t.sigmoid(x),
            "affine": lambda x: self.t.add(self.t.mul(alpha, x), beta),
            "scaledtanh": lambda x: self.t.mul(alpha, self.t.tanh(self.t.mul(beta, x))),
            "hardsigmoid": lambda x: self.t.apply(HardSigmoid(alpha=alpha, beta=beta), x),
            "leakyrelu": lambda x: self.t.apply(LeakyRelu(alpha=alpha), x),
            "thresholdedrelu": lambda x: self.t.apply(ThresholdedRelu(alpha=alpha), x),
            "elu": lambda x: self.t.apply(Elu(alpha=alpha), x),
        }
        return formulas.get(name) or (lambda x: self.t.apply(PLAIN[name](), x))

    def _clipped(self, function: Function) -> Function:
        limit = self.op.clip
        return function if not limit else lambda x: function(self.t.max(-limit, self.t.min(limit, x)))

    def _state(self, index: int, direction: int, x: Value) -> Value:
        """An initial state ``[1, batch, hidden]``."""
        given = self._operand(index, direction)
        return given if given is not None else self.t.expand(self.t.like(0, x), [1, self.t.dim(x, 1), self.hidden])

    def _matrix(self, value: Value | None, start: int = 0, stop: int | None = None) -> Value:
        """Blocks of rows of a matrix ``[1, rows, columns]``, transposed."""
        assert value is not None
        part = self._part(value, 1, start, self.op.gates if stop is None else stop)
        if part.data is not None:
            return self.t.constant(np.ascontiguousarray(part.data.numpy()[0].T))
        return self.t.transpose(self.t.squeeze(part, [0]), (1, 0))

    def _sum(self, *parts: Value | None) -> Value | None:
        present = [part for part in parts if part is not None]
        if len(present) == 2 and all(part.data is not None for part in present):
            return self.t.constant(present[0].data.numpy() + present[1].data.numpy())  # type: ignore[union-attr]
        total = present[0] if present else None
        for part in present[1:]:
            total = self.t.add(total, part)  # type: ignore[arg-type]
        return total

    def run(self, direction: int) -> tuple[Value, list[Value]]:
        """The series of the results of one direction ``[steps, batch, hidden]``, and its final states."""
        t, op = self.t, self.op
        x, lengths = self.node.inputs[0], self.node.operand(4)
        assert x is not None
        bias = self._operand(3, direction)
        halves = (None, None) if bias is None else (self._part(bias, 1, 0, op.gates), self._part(bias, 1, op.gates, 2 * op.gates))
        functions = [self._clipped(f) for f in self._functions()[direction]]
        maker = {RNN: self._rnn, GRU: self._gru, LSTM: self._lstm}[type(op)]
        offset, step = maker(direction, functions, *halves)
        projected = t.matmul(x, self._matrix(self._operand(1, direction)))
        if offset is not None:
            projected = t.add(projected, t.reshape(offset, [-1]))
        states = [self._state(5 + i, direction, x) for i in range(op.states)]
        backwards = op.direction == "reverse" or direction == 1
        ends = None if lengths is None else t.reshape(lengths, [1, -1, 1])
        if not isinstance(self.steps, int) or self.steps > LONGEST or self._is_heavy():
            return self._scan(step, projected, states, ends, backwards)
        slices = t.halves(projected, 0, [1] * self.steps) if self.steps > 1 else (projected,)
        seen: dict[int, Value] = {}
        for time in range(self.steps - 1, -1, -1) if backwards else range(self.steps):
            states, seen[time] = _guarded(t, step(slices[time], states), states, ends, time)
        return t.concat([seen[time] for time in range(self.steps)], 0), states

    def _is_heavy(self) -> bool:
        """Whether writing the layer out would repeat products with much weight."""
        weight = self.node.inputs[2]
        assert weight is not None and isinstance(self.steps, int)
        each = weight.data.nbytes // self.op.directions if weight.data is not None else 0
        return each > HEAVY_STEP and each * self.steps > HEAVY_LAYER

    def _scan(
        self, step: Step, projected: Value, states: Sequence[Value], ends: Value | None, backwards: bool
    ) -> tuple[Value, list[Value]]:
        """The same with a Scan, whose body is one step."""
        outer, body = self.t, Graph(self.t.b.graph.fresh_name("recurrence"))
        carried = [body.add_input(f"state_{i}", v.type) for i, v in enumerate(states)]
        assert projected.shape is not None
        part = body.add_input("part", TensorType(projected.tensor.dtype, projected.shape[1:]))
        place = body.add_input("place", TensorType(DType.INT32, ()))
        inner = Terms(_Region(body))  # type: ignore[arg-type]
        self.t = inner
        fresh, element = _guarded(inner, step(inner.unsqueeze(part, [0]), carried), carried, ends, place)
        self.t = outer
        outputs = [*fresh, inner.squeeze(element, [0])]
        body.set_outputs(outputs, [f"next_{i}" for i in range(len(fresh))] + ["element"])
        turned = (1, 1) if backwards else (0, 0)
        op = Scan(num_scan_inputs=2, scan_input_directions=turned, scan_output_directions=turned[:1])
        places = outer.cast(outer.count(outer.dim(projected, 0)), DType.INT32)
        *final, series = outer.b.add(op, *states, projected, places, outputs=len(states) + 1, regions=[body])
        return series, final

    # -- one step each: the constant part of the gates, and a function of the projected input and the states --------------------
    def _rnn(self, direction: int, functions: Sequence[Function], wb: Value | None, rb: Value | None) -> tuple[Value | None, Step]:
        recurrence = self._matrix(self._operand(2, direction))
        return self._sum(wb, rb), lambda x, states: [functions[0](self.t.add(x, self.t.matmul(states[0], recurrence)))]

    def _gru(self, direction: int, functions: Sequence[Function], wb: Value | None, rb: Value | None) -> tuple[Value | None, Step]:
        t, n, r = self.t, self.hidden, self._operand(2, direction)
        gated, last = self._matrix(r, 0, 2), self._matrix(r, 2, 3)
        whole, before = self._matrix(r), bool(self.op.linear_before_reset)
        inner_bias, offset = None, self._sum(wb, rb)
        if before and wb is not None and rb is not None:  # the last block of the recurrent bias is multiplied by the reset gate
            inner_bias = self._part(rb, 1, 2, 3)
            gate_bias = self._sum(self._part(wb, 1, 0, 2), self._part(rb, 1, 0, 2))
            assert gate_bias is not None
            offset = t.concat([gate_bias, self._part(wb, 1, 2, 3)], 1)

        def step(x: Value, states: list[Value]) -> list[Value]:
            t, (h,) = self.t, states
            gates_x, last_x = t.halves(x, 2, [2 * n, n])
            if before:
                gates_h, last_h = t.halves(t.matmul(h, whole), 2, [2 * n, n])
            else:
                gates_h, last_h = t.matmul(h, gated), None
            update, reset = t.halves(functions[0](t.add(gates_x, gates_h)), 2, [n, n])
            if last_h is not None:
                inner = t.mul(reset, last_h if inner_bias is None else t.add(last_h, t.reshape(inner_bias, [-1])))
            else:
                inner = t.matmul(t.mul(reset, h), last)
            candidate = functions[1](t.add(last_x, inner))
            return [t.add(t.mul(t.sub(1, update), candidate), t.mul(update, h))]

        return offset, step

    def _lstm(self, direction: int, functions: Sequence[Function], wb: Value | None, rb: Value | None) -> tuple[Value | None, Step]:
        n, op = self.hidden, self.op
        recurrence = self._matrix(self._operand(2, direction))
        peeps = self._blocks(self._operand(7, direction), 3)  # input, output, forget
        gate, update, squash = functions[0], functions[1], self._functions()[direction][2]

        def seeing(x: Value, peep: Value | None, cell: Value) -> Value:
            t = self.t
            return gate(x if peep is None else t.add(x, t.mul(t.reshape(peep, [-1]), cell)))

        def step(x: Value, states: list[Value]) -> list[Value]:
            t, (h, cell) = self.t, states
            blocks = t.add(x, t.matmul(h, recurrence))
            i, o, f, g = t.halves(blocks, 2, [n, n, n, n])
            i = seeing(i, peeps[0], cell)
            keep = t.sub(1, i) if op.input_forget else seeing(f, peeps[2], cell)
            new = t.add(t.mul(keep, cell), t.mul(i, update(g)))
            return [t.mul(seeing(o, peeps[1], new), squash(new)), new]

        return self._sum(wb, rb), step
