"""Short loops are written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..ir.clone import clone_into
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value, constant, int64s
from ..ir.inference import infer_node
from ..ir.op import Opaque
from ..ir.ops.concat import Concat
from ..ir.ops.control import Loop, Scan
from ..ir.ops.gather import Gather
from ..ir.ops.reshape import Unsqueeze
from ..ir.types import TensorType, name_unknown_dims
from .base import Change, Pass
from .context import Context
from .mutation import replace_value


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Write out Loops with a known number of iterations and Scans of known length.

    A loop stays when it runs more than ``max_trips`` times, when it would become more than ``max_nodes`` nodes, or, with limits above
    zero, when an iteration reads more than ``heavy_iteration`` bytes of constants and all of them together ``heavy_loop``: for runtimes
    that keep a packed copy of a constant per node.
    """

    name: ClassVar[str] = "unroll-loops"
    idempotent: ClassVar[bool] = True
    max_trips: int = 16
    max_nodes: int = 1000
    heavy_iteration: int = 0
    heavy_loop: int = 0

    def run(self, graph: Graph, context: Context) -> Change:
        unrolled = 0
        innermost_first = [node for node in graph.walk() if isinstance(node.op, Loop | Scan)][::-1]
        for node in innermost_first:
            trips = trip_count(node)
            if trips is None or node.graph is None or not self.takes(node):
                if trips is not None and trips <= self.max_trips and not self._small(node, trips):
                    context.note(self.name, f"{trips} iterations would be more than {self.max_nodes} nodes", node.where)
                continue
            if not context.permit(self.name):
                continue
            _Unroller(node, node.graph, trips).run()
            unrolled += 1
        return Change.of("loop", unrolled)

    def takes(self, node: Node) -> bool:
        """Whether a node is a loop that this pass writes out."""
        if not isinstance(node.op, Loop | Scan):
            return False
        trips = trip_count(node)
        if trips is None or trips > self.max_trips or not self._small(node, trips) or self._heavy(node, trips):
            return False
        states = len(node.inputs) - (2 if isinstance(node.op, Loop) else node.op.num_scan_inputs)
        return trips > 0 or len(node.outputs) <= states  # an empty stack has no elements to be built from

    def _small(self, node: Node, trips: int) -> bool:
        return trips * sum(1 for _ in node.regions[0].walk()) <= self.max_nodes

    def _heavy(self, node: Node, trips: int) -> bool:
        if not self.heavy_loop:
            return False
        constants = {v: v.data.nbytes for inner in node.regions[0].walk() for v in inner.inputs if v is not None and v.data is not None}
        total = sum(constants.values())
        return total > self.heavy_iteration and total * trips > self.heavy_loop


def trip_count(node: Node) -> int | None:
    """The number of iterations when it is known at compile time and no condition can end the loop early."""
    if isinstance(node.op, Scan):
        return _scan_length(node, node.op)
    body = node.regions[0]
    limit, condition = node.operand(0), node.operand(1)
    again = body.outputs[0]
    if condition is not None and condition.ints is not None and not condition.ints[0]:
        return 0
    starts = condition is None or condition.ints is not None
    goes_on = again is body.inputs[1] or (again.ints is not None and bool(again.ints[0]))
    if limit is None or not limit.ints or not starts or not goes_on:
        return None
    return max(limit.ints[0], 0)


def _scan_length(node: Node, op: Scan) -> int | None:
    position = len(node.inputs) - op.num_scan_inputs
    value = node.inputs[position]
    if value is None or value.shape is None:
        return None
    dim = value.shape[_option(op.scan_input_axes, 0)]
    return dim if isinstance(dim, int) else None


def _option(values: tuple[int, ...] | None, position: int) -> int:
    return 0 if values is None or position >= len(values) else values[position]


class _Unroller:
    def __init__(self, node: Node, graph: Graph, trips: int) -> None:
        self.node, self.graph, self.trips, self.body = node, graph, trips, node.regions[0]
        op: Any = node.op
        self.op = op
        self.is_loop = isinstance(op, Loop)
        self.states = len(node.inputs) - 2 if self.is_loop else len(node.inputs) - op.num_scan_inputs

    def run(self) -> None:
        carried: list[Value | None] = list(self.node.inputs[2:] if self.is_loop else self.node.inputs[: self.states])
        first_output = 1 if self.is_loop else 0
        scanned: list[list[Value]] = [[] for _ in self.body.outputs[first_output + self.states :]]
        before = self.node.previous
        for trip in range(self.trips):
            arguments = [*self._loop_arguments(trip), *carried] if self.is_loop else [*carried, *self._slices(trip)]
            mapping = {k: v for k, v in zip(self.body.inputs, arguments, strict=True) if v is not None}
            results = clone_into(self.body, self.graph, mapping, self.node)[first_output:]
            carried = list(results[: self.states])
            for parts, part in zip(scanned, results[self.states :], strict=True):
                parts.append(part)
        self._infer_again(before)
        stacked: list[Value | None] = []
        for index, parts in enumerate(scanned):
            wanted = self.states + index < len(self.node.outputs) and self.node.outputs[self.states + index].uses
            stacked.append(self._stack(parts, index) if wanted else None)
        for old, new in zip(self.node.outputs, [*carried, *stacked], strict=False):
            if new is not None:
                replace_value(self.graph, old, new)
        self.graph.remove(self.node)

    def _loop_arguments(self, trip: int) -> list[Value]:
        """The iteration number and the condition, as vectors where the body wants them so."""
        number, flag = [[value] if inner.rank == 1 else value for inner, value in zip(self.body.inputs, (trip, True), strict=False)]
        return [
            constant(number, self.graph.fresh_name("iteration"), DType.INT64),
            constant(flag, self.graph.fresh_name("condition"), DType.BOOL),
        ]

    def _slices(self, trip: int) -> list[Value]:
        slices: list[Value] = []
        for position, value in enumerate(self.node.inputs[self.states :]):
            assert value is not None
            place = self.trips - 1 - trip if _option(self.op.scan_input_directions, position) else trip
            index = constant(place, self.graph.fresh_name("index"), DType.INT64)
            slices.append(self.graph.add(Gather(_option(self.op.scan_input_axes, position)), value, index, before=self.node))
        return slices

    def _stack(self, parts: Sequence[Value], index: int) -> Value:
        axis = 0 if self.is_loop else _option(self.op.scan_output_axes, index)
        if not self.is_loop and _option(self.op.scan_output_directions, index):
            parts = parts[::-1]
        rank = parts[0].rank
        if axis < 0 and rank is not None:
            axis += rank + 1
        axes = int64s([axis], self.graph.fresh_name("axes"))
        wide = [self.graph.add(Unsqueeze(), part, axes, before=self.node) for part in parts]
        return self.graph.add(Concat(axis), *wide, before=self.node)

    def _infer_again(self, before: Node | None) -> None:
        """Types of the copies from scratch: what holds for all iterations is less than what holds for one.

        The copies lose their debug handles: no value of the imported model equals the value of one iteration.
        """
        node = before.next if before is not None else self.graph.first
        while node is not None and node is not self.node:
            for inner in (node, *(n for region in node.regions for n in region.walk())):
                _forget(inner)
            if node.regions:
                infer_node(node)
            elif not isinstance(node.op, Opaque):
                for value, inferred in zip(node.outputs, node.infer(), strict=True):
                    value.type = name_unknown_dims(inferred, value.name)
            node = node.next


def _forget(node: Node) -> None:
    for value in node.outputs:
        value.origins = ()
        if isinstance(value.type, TensorType) and not isinstance(node.op, Opaque):
            value.type = TensorType(value.type.dtype, None)
