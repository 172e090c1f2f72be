"""Control flow: branches and loops as subgraphs.

A subgraph takes everything that it reads as inputs: LiteRT's kernels hand over the operands of IF, or the variables of WHILE, which
carry what a body only reads from one iteration to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....ir.dtypes import DType
from ....ir.graph import Graph, Node, Value
from ....ir.ops.control import If, Loop, Scan
from ....passes.mutation import captured_values
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .conditions import sizes


def _elements_known(node: Node) -> Verdict | None:
    """Stacks begin empty, with the sizes of their elements."""
    op, body = node.op, node.regions[0]
    assert isinstance(op, Loop | Scan)
    carried = len(node.inputs) - (2 if isinstance(op, Loop) else op.num_scan_inputs)
    for value in body.outputs[carried + isinstance(op, Loop) :]:
        if value.dtype is None or value.shape is None or None in sizes(value):
            return no("the sizes of the elements of a stack are not known before the run", "dynamic-shape")
    if isinstance(op, Loop) and node.operand(0) is None and node.operand(1) is None:
        return no("the loop never ends")
    return None


# -- branches ---------------------------------------------------------------------------------------------------------------
@emits(If, dtypes=None)
def branches(e: Emitter, node: Node) -> None:
    """IF, whose branches take the values that either of them reads."""
    read = list(dict.fromkeys(v for region in node.regions for v in captured_values(region)))
    indices = []
    for region in node.regions:
        part = _Part(e, region.name or "branch")
        for value in read:
            part.take(value)
        part.give(part.written(region, region.outputs))
        indices.append(part.index)
    condition = e.operand(node.inputs[0])
    if e.shape(condition) != ():
        condition = e.reshaped(condition, [])
    operands = [condition, *(e.operand(v) for v in read)]
    options = {"thenSubgraphIndex": indices[0], "elseSubgraphIndex": indices[1]}
    e.op("IF", operands, [e.result(v) for v in node.outputs], **options)


class _Part:
    """A subgraph in the making."""

    def __init__(self, e: Emitter, name: str) -> None:
        self.index = len(e.model.subgraphs)
        self.e = Emitter(e.model, name, winograd=e.winograd)

    def take(self, value: Value) -> int:
        """A further input that stands for a value."""
        tensor = self.e.result(value)
        self.e.subgraph.inputs.append(tensor)
        return tensor

    def variable(self, shape: Sequence[int | None], dtype: DType) -> int:
        """A further input of its own."""
        tensor = self.e.temporary(shape, dtype)
        self.e.subgraph.inputs.append(tensor)
        return tensor

    def written(self, region: Graph, outputs: Sequence[Value]) -> list[int]:
        """Write the nodes of a region; gives the tensors of its outputs."""
        for inner in region:
            self.e.emit(inner)
        return [self.e.operand(v) for v in outputs]

    def give(self, tensors: Sequence[int]) -> None:
        """Set the outputs, each a computed tensor of its own."""
        e = self.e
        taken = set(e.subgraph.inputs)
        for tensor in tensors:
            if tensor in taken or e.subgraph.tensors[tensor].buffer:
                tensor = e.copied(tensor)
            taken.add(tensor)
            e.subgraph.outputs.append(tensor)


# -- loops ------------------------------------------------------------------------------------------------------------------
@dataclass
class _Stack:
    """A result that grows by one element with every iteration.

    Attributes:
        element: the element in the body.
        axis: where elements are lined up.
        backwards: whether each goes before those that came earlier.
    """

    element: Value
    axis: int
    backwards: bool = False

    @property
    def shape(self) -> list[int | None]:
        """The sizes of the stack."""
        known = sizes(self.element)
        return [*known[: self.axis], None, *known[self.axis :]]

    def empty(self, e: Emitter) -> int:
        """The stack before the first iteration."""
        dtype = self.element.tensor.dtype
        y = e.temporary(self.shape, dtype)
        filler = False if dtype is DType.BOOL else 0
        e.op("FILL", [e.ints([0 if d is None else d for d in self.shape]), e.number(filler, dtype)], [y])
        return y

    def grown(self, e: Emitter, stack: int, element: int) -> int:
        """The stack with one further element."""
        known = sizes(self.element)
        one = e.reshaped(element, [*known[: self.axis], 1, *known[self.axis :]])
        y = e.temporary(self.shape, e.dtype(element))
        e.op("CONCATENATION", [one, stack] if self.backwards else [stack, one], [y], axis=self.axis, fusedActivationFunction=0)
        return y


@emits(Loop, dtypes=None, when=_elements_known)
def loop(e: Emitter, node: Node) -> None:
    """WHILE with the number of the iteration, the condition, the limit, the carried values, the stacks and what the body reads."""
    region = node.regions[0]
    limit, condition, *initial = node.inputs
    count = len(initial)
    stacks = [_Stack(v, 0) for v in region.outputs[1 + count :]]
    read = captured_values(region)
    start = [e.number(0, DType.INT64), _scalar(e, condition) if condition is not None else e.constant(True)]
    start.append(_scalar(e, limit) if limit is not None else e.number(2**62, DType.INT64))
    operands = [*start, *(e.operand(v) for v in initial), *(s.empty(e) for s in stacks), *(e.operand(v) for v in read)]
    body = _Part(e, region.name or "body")
    number, going, last = (body.variable([], d) for d in (DType.INT64, DType.BOOL, DType.INT64))
    for value, tensor in zip(region.inputs[:2], (number, going), strict=True):
        body.e.alias(value, tensor if not value.rank else body.e.reshaped(tensor, [1] * (value.rank or 0)))
    for value in region.inputs[2:]:
        body.take(value)
    held = [body.variable(s.shape, s.element.tensor.dtype) for s in stacks]
    kept = [body.take(v) for v in read]
    again, *results = body.written(region, region.outputs)
    if body.e.shape(again) != ():
        again = body.e.reshaped(again, [])
    after = body.e.binary("ADD", number, body.e.number(1, DType.INT64), fusedActivationFunction=0)
    grown = [s.grown(body.e, *pair) for s, pair in zip(stacks, zip(held, results[count:], strict=True), strict=True)]
    body.give([after, again, last, *results[:count], *grown, *kept])

    def goes_on(test: Emitter, inputs: list[int]) -> int:
        return test.binary("LOGICAL_AND", inputs[1], test.binary("LESS", inputs[0], inputs[2], DType.BOOL))

    _while(e, operands, body, node, 3, goes_on)


@emits(Scan, dtypes=None, when=_elements_known)
def scan(e: Emitter, node: Node) -> None:
    """WHILE with the position, the number of positions, the states, the stacks, the sequences and what the body reads."""
    op, region = node.op, node.regions[0]
    assert isinstance(op, Scan)
    states = len(node.inputs) - op.num_scan_inputs
    sequences = [v for v in node.inputs[states:] if v is not None]
    axes = [op._option(op.scan_input_axes, i) % (v.rank or 1) for i, v in enumerate(sequences)]
    stacks = []
    for i, value in enumerate(region.outputs[states:]):
        axis = op._option(op.scan_output_axes, i) % ((value.rank or 0) + 1)
        stacks.append(_Stack(value, axis, bool(op._option(op.scan_output_directions, i))))
    read = captured_values(region)
    length = sizes(sequences[0])[axes[0]]
    total = e.number(length, DType.INT32) if length is not None else e.temporary([], DType.INT32)
    if length is None:
        e.op("GATHER", [e.shape_of(e.operand(sequences[0])), e.number(axes[0], DType.INT32)], [total], axis=0)
    own = [e.operand(v) for v in node.inputs[:states]]
    operands = [e.number(0, DType.INT32), total, *own, *(s.empty(e) for s in stacks), *(e.operand(v) for v in (*sequences, *read))]
    body = _Part(e, region.name or "body")
    inner = body.e
    place, last = (body.variable([], DType.INT32) for _ in range(2))
    for value in region.inputs[:states]:
        body.take(value)
    held = [body.variable(s.shape, s.element.tensor.dtype) for s in stacks]
    scanned = [body.variable(sizes(v), v.tensor.dtype) for v in sequences]
    kept = [body.take(v) for v in read]
    for i, (value, tensor) in enumerate(zip(region.inputs[states:], scanned, strict=True)):
        where = place
        if op._option(op.scan_input_directions, i):
            where = inner.binary("SUB", last, inner.binary("ADD", place, inner.number(1, DType.INT32), fusedActivationFunction=0),
                                 fusedActivationFunction=0)  # fmt: skip
        inner.op("GATHER", [tensor, where], [inner.result(value)], axis=axes[i])
    results = body.written(region, region.outputs)
    after = inner.binary("ADD", place, inner.number(1, DType.INT32), fusedActivationFunction=0)
    grown = [s.grown(inner, *pair) for s, pair in zip(stacks, zip(held, results[states:], strict=True), strict=True)]
    body.give([after, last, *results[:states], *grown, *scanned, *kept])

    def goes_on(test: Emitter, inputs: list[int]) -> int:
        return test.binary("LESS", inputs[0], inputs[1], DType.BOOL)

    _while(e, operands, body, node, 2, goes_on)


def _scalar(e: Emitter, value: Value) -> int:
    tensor = e.operand(value)
    return tensor if e.shape(tensor) == () else e.reshaped(tensor, [])


def _while(e: Emitter, operands: list[int], body: _Part, node: Node, skipped: int, goes_on: Callable[[Emitter, list[int]], int]) -> None:
    """Append WHILE; the results of the node are the variables after the first few."""
    test = _Part(e, "condition")
    inside = body.e.subgraph
    types = [body.e.dtype(t) for t in inside.inputs]
    inputs = [test.variable(body.e.shape(t), d) for t, d in zip(inside.inputs, types, strict=True)]
    test.give([goes_on(test.e, inputs)])
    results = []
    for position, (tensor, dtype) in enumerate(zip(inside.outputs, types, strict=True)):
        wanted = skipped <= position < skipped + len(node.outputs)
        results.append(e.result(node.outputs[position - skipped]) if wanted else e.temporary(body.e.shape(tensor), dtype))
    e.op("WHILE", operands, results, condSubgraphIndex=test.index, bodySubgraphIndex=body.index)
