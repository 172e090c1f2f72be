"""Which nodes of a graph with QuantizeLinear and DequantizeLinear run in integers, and how integers stand for its real values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...ir.data import ArrayData
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.op import Op
from ...ir.ops.activation import Clip, Relu
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from .writer import Quantization

if TYPE_CHECKING:
    from .quantized_emitter import QuantizedEmitter

Grids = Literal["own", "operand", "result"]
Emit = Callable[["QuantizedEmitter", Node], None]
SIGNED = {DType.INT8: DType.INT8, DType.UINT8: DType.INT8, DType.INT16: DType.INT16}
"""The type that tensors between integer kernels have for each type of the model's."""
SHIFT = 128  # from uint8 to int8


@dataclass(frozen=True)
class Grid:
    """How the integers of a tensor stand for real numbers: one scale, one zero point.

    Attributes:
        dtype: int8 or int16.
        parameters: scale and zero point.
    """

    dtype: DType
    parameters: Quantization

    @property
    def scale(self) -> float:
        return self.parameters.scale[0]

    @property
    def zero_point(self) -> int:
        return self.parameters.zero_point[0]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest real number."""
        low, high = (-128, 127) if self.dtype is DType.INT8 else (-32768, 32767)
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale


@dataclass(frozen=True)
class Stored:
    """A constant that DequantizeLinear reads.

    Attributes:
        values: its integers.
        dtype: their type.
        scale: scales as float32, of rank 0 or 1 (or of the constant's rank, in blocks).
        zero_point: as many integers.
        axis: the axis of several scales.
        block: elements that share a scale along the axis, 0 without blocks.
    """

    values: Any
    dtype: DType
    scale: Any
    zero_point: Any
    axis: int
    block: int

    @property
    def is_symmetric(self) -> bool:
        """Whether all zero points are in the middle of the range, and nothing is in blocks."""
        middle = SHIFT if self.dtype is DType.UINT8 else 0
        return not self.block and bool((self.zero_point == middle).all())

    def signed(self) -> Any:
        """The integers of type int8 when they are of type uint8."""
        if self.dtype is DType.UINT8:
            return (self.values.astype(np.int16) - SHIFT).astype(np.int8)
        return self.values

    def scales(self, count: int) -> tuple[float, ...]:
        """A scale for each of some channels."""
        return tuple(float(s) for s in np.broadcast_to(self.scale.reshape(-1), (count,)))

    def real(self) -> Any:
        """What the integers stand for."""
        op = DequantizeLinear(axis=self.axis, block_size=self.block)
        return op.evaluate(self.values, self.scale, self.zero_point.astype(self.values.dtype))


@dataclass(frozen=True)
class IntegerForm:
    """How nodes of some operators run in integers.

    Attributes:
        function: appends the operators of a node.
        when: why a node does not run in integers, None when it does.
        grid: ``own`` when operands and result have each their own parameters, ``operand`` when the kernel moves elements and works with
            the parameters of the first operand, ``result`` when it works with those of the result.
        moves: whether a node only moves elements, so that it does not matter whether they are rounded before or after.
    """

    function: Emit
    when: Callable[[Node, Plan], str | None] | None
    grid: Grids
    moves: Callable[[Node], bool]


FORMS: dict[type[Op], IntegerForm] = {}


def in_integers(
    *classes: type[Op],
    when: Callable[[Node, Plan], str | None] | None = None,
    grid: Grids = "own",
    moves: Callable[[Node], bool] | None = None,
) -> Callable[[Any], Any]:
    """Declare how operators of some classes run in integers; those on the grid of their operand move elements unless ``moves`` tells."""

    def register(function: Any) -> Any:
        for cls in classes:
            FORMS[cls] = IntegerForm(function, when, grid, moves or (lambda _: grid == "operand"))
        return function

    return register


@dataclass
class Plan:
    """What is known of a graph's quantisation.

    Attributes:
        grids: the parameters of real (float32) values that integers can stand for.
        stored: the constants behind dequantised values.
        whole: the nodes that run in integers.
        kept: why other nodes next to quantised values do not, in order.
        roundings: where a kernel rounds what the model does not.
        labels: the parameters of the model's own integer tensors.
    """

    grids: dict[Value, Grid] = field(default_factory=dict)
    stored: dict[Value, Stored] = field(default_factory=dict)
    whole: dict[Node, IntegerForm] = field(default_factory=dict)
    kept: dict[Node, str] = field(default_factory=dict)
    roundings: dict[Node, str] = field(default_factory=dict)
    labels: dict[Value, Quantization] = field(default_factory=dict)

    def grid(self, value: Value | None) -> Grid | None:
        """The parameters of a value, also of a single constant number, for which integers can stand exactly."""
        if value is None:
            return None
        found = self.grids.get(value)
        if found is None and value.data is not None and value.dtype is DType.FLOAT and value.data.shape in ((), (1,)):
            number = abs(float(value.data.numpy().reshape(-1)[0]))
            if np.isfinite(number):
                return Grid(DType.INT8, Quantization((number or 1.0,), (0,)))
        return found


def has_quantization(graph: Graph) -> bool:
    """Whether anything is quantised or dequantised."""
    return any(isinstance(node.op, QuantizeLinear | DequantizeLinear) for node in graph.walk())


def plan_of(graph: Graph) -> Plan:
    """Decide for every node of a graph (not of its regions) whether it runs in integers."""
    plan = Plan()
    for node in graph:
        _follow(node, plan)
    for value in _real_values(graph):
        if value not in plan.grids:
            _written(value, plan)
    for node in reversed(list(graph)):
        _backward(node, plan)
    for node in graph:
        form = FORMS.get(type(node.op))
        if form is not None and form.moves(node) and any(_is_code(v) and v in plan.grids for v in node.outputs):
            plan.whole[node] = form
        if not _is_real(node) or not _touches(node, plan):
            continue
        reason = "there is no integer kernel for it" if form is None else _objection(node, form, plan)
        if reason is None and form is not None:
            plan.whole[node] = form
        elif reason:
            plan.kept[node] = reason
    return plan


def _real_values(graph: Graph) -> Iterator[Value]:
    for value in graph.inputs:
        if value.dtype is DType.FLOAT:
            yield value
    for node in graph:
        if not isinstance(node.op, DequantizeLinear):
            yield from (v for v in node.outputs if v.dtype is DType.FLOAT)


def grid_of(node: Node) -> Grid | None:
    """The parameters of a QuantizeLinear or DequantizeLinear per tensor, as the signed tensors of kernels have them; None for others."""
    stored = node.outputs[0] if isinstance(node.op, QuantizeLinear) else node.inputs[0]
    scale, zero = node.inputs[1], node.operand(2)
    assert stored is not None and scale is not None
    real = node.inputs[0] if isinstance(node.op, QuantizeLinear) else node.outputs[0]
    if stored.dtype not in SIGNED or scale.data is None or scale.data.shape not in ((), (1,)) or scale.dtype is not DType.FLOAT:
        return None
    if zero is not None and zero.data is None or real is None or real.dtype is not DType.FLOAT or getattr(node.op, "precision", None):
        return None
    point = 0 if zero is None or zero.data is None else int(zero.data.numpy().reshape(-1)[0])
    number = float(scale.data.numpy().reshape(-1)[0])
    if stored.dtype is DType.INT16 and point or not (np.isfinite(number) and number > 0):
        return None
    if stored.dtype is DType.UINT8:
        point -= SHIFT
    return Grid(SIGNED[stored.dtype], Quantization((number,), (point,)))


def _is_code(value: Value) -> bool:
    return value.dtype in SIGNED


def _follow(node: Node, plan: Plan) -> None:
    """Note the parameters of the integers that QuantizeLinear makes, that operators move, and that DequantizeLinear reads."""
    x = node.operand(0) if node.inputs else None
    if isinstance(node.op, DequantizeLinear):
        _read(node, plan)
    elif isinstance(node.op, QuantizeLinear):
        grid = grid_of(node)
        if grid is not None:
            plan.grids[node.output] = grid
    elif x is not None and _is_code(x) and x in plan.grids:
        form = FORMS.get(type(node.op))
        if form is not None and form.moves(node) and (form.when is None or form.when(node, plan) is None):
            plan.grids.update({v: plan.grids[x] for v in node.outputs})


def _read(node: Node, plan: Plan) -> None:
    x, y = node.inputs[0], node.output
    assert x is not None
    grid = grid_of(node)
    if x.data is not None:
        stored = stored_of(node)
        if stored is not None:
            plan.stored[y] = stored
        if grid is not None:
            plan.grids[y] = grid
        return
    if grid is None:
        return
    known = plan.grids.setdefault(x, grid)
    if known == grid:
        plan.grids[y] = grid
    if x.producer is None or x.producer not in plan.whole and not isinstance(x.producer.op, QuantizeLinear):
        plan.labels.setdefault(x, _label(x, known))


def _label(code: Value, grid: Grid) -> Quantization:
    """The parameters of a grid as a tensor of the model's own integers has them."""
    return Quantization(grid.parameters.scale, (grid.zero_point + (SHIFT if code.dtype is DType.UINT8 else 0),))


def simulates(plan: Plan, code: Value) -> bool:
    """Whether integers only stand for real numbers: they are dequantised wherever they are read."""
    for user, _ in code.uses:
        if not isinstance(user, Node):
            return False
        moved = user in plan.whole and all(simulates(plan, v) for v in user.outputs)
        if not moved and not isinstance(user.op, DequantizeLinear):
            return False
    return True


def stored_of(node: Node) -> Stored | None:
    """The constant behind a DequantizeLinear, None when something is computed at run time."""
    assert isinstance(node.op, DequantizeLinear)
    x, scale, zero = node.inputs[0], node.inputs[1], node.operand(2)
    assert x is not None and scale is not None and x.dtype is not None and x.rank is not None
    if x.data is None or scale.data is None or zero is not None and zero.data is None:
        return None
    steps = scale.data.numpy()
    if steps.dtype != np.float32 or not x.dtype.is_integer:
        return None
    points = np.zeros(steps.shape, np.int64) if zero is None or zero.data is None else zero.data.numpy().astype(np.int64)
    axis = node.op.axis % x.rank if x.rank and steps.ndim else 0
    return Stored(x.data.numpy(), x.dtype, steps, points, axis, node.op.block_size if steps.ndim > 1 else 0)


def _written(value: Value, plan: Plan) -> None:
    """Note the parameters of a value that is quantised wherever it is read."""
    if not value.uses or value.is_output:
        return
    found: set[Grid | None] = set()
    for user, index in value.uses:
        quantizes = isinstance(user, Node) and isinstance(user.op, QuantizeLinear) and index == 0
        found.add(grid_of(user) if quantizes else None)  # type: ignore[arg-type]
    if len(found) == 1 and None not in found:
        plan.grids[value] = found.pop()  # type: ignore[assignment]


def _backward(node: Node, plan: Plan) -> None:
    """What is only moved or limited before it is quantised may be quantised before; integers that are moved mean what they mean after."""
    form = FORMS.get(type(node.op))
    limits = isinstance(node.op, Relu | Clip)
    if not limits and (form is None or not form.moves(node)):
        return
    grids = {plan.grids.get(v) for v in node.outputs}
    x = node.inputs[0]
    if len(grids) != 1 or x is None or x in plan.grids or x.data is not None:
        return
    grid = grids.pop()
    if grid is None:
        return
    if not limits and _is_code(x):
        plan.grids[x] = grid
        if x.producer is None:
            plan.labels.setdefault(x, _label(x, grid))
    elif x.dtype is DType.FLOAT and x.producer is not None and len(x.uses) == 1:
        plan.grids[x] = grid


def _is_real(node: Node) -> bool:
    if isinstance(node.op, QuantizeLinear | DequantizeLinear):
        return False
    return any(v.dtype is DType.FLOAT for v in node.outputs)


def _touches(node: Node, plan: Plan) -> bool:
    return any(v is not None and (v in plan.grids or v in plan.stored) for v in (*node.inputs, *node.outputs))


def _objection(node: Node, form: IntegerForm, plan: Plan) -> str | None:
    """Why a node does not run in integers."""
    first = plan.grid(node.inputs[0])
    if first is None:
        return "its operand is not quantised per tensor by constants"
    if form.when is not None:
        found = form.when(node, plan)
        if found:
            return found
    for value in node.outputs:
        if value not in plan.grids:
            if not form.moves(node) or value.dtype is not DType.FLOAT:
                return "its result is not quantised"
            assert first is not None
            plan.grids[value] = first
        if first is not None and plan.grids[value].dtype is not first.dtype:
            return f"its operand has elements of type {first.dtype}, its result of type {plan.grids[value].dtype}"
    return None


def constant_integers(value: Value, grid: Grid) -> ArrayData:
    """The integers of a constant on a grid."""
    assert value.data is not None
    op = QuantizeLinear()
    array = op.evaluate(value.data.numpy(), np.asarray(grid.scale, np.float32), np.asarray(grid.zero_point, grid.dtype.numpy))
    return ArrayData(array, grid.dtype)
