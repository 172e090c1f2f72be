"""The emitter for graphs with quantised values: every real value may have an integer tensor, a float32 tensor, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.data import ArrayData
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from .emitter import Emitter, Winograd, activation, fusible_activation
from .quantized import SHIFT, Grid, IntegerForm, Plan, Stored, constant_integers, grid_of, simulates
from .writer import FlatModel, Quantization

WHOLE = (DType.INT8, DType.INT16)


class QuantizedEmitter(Emitter):
    """Writes nodes of a plan with integer kernels, the others with float32 ones, and what lies between.

    Attributes:
        plan: what runs in integers.
        integer_interface: whether the graph's quantised inputs and outputs are int8 tensors instead of float32 ones.
    """

    def __init__(self, model: FlatModel, plan: Plan, integer_interface: bool = False, *, winograd: Winograd | None = None) -> None:
        super().__init__(model, winograd=winograd)
        self.plan, self.integer_interface = plan, integer_interface
        self.quantization.update(plan.labels)
        self._integers: dict[Value, int] = {}
        self._moved: dict[tuple[int, Grid], int] = {}
        self._is_whole = False
        self._carried: Grid | None = None
        self._pending: list[tuple[Value, int]] = []
        self._interface: tuple[dict[Value, None], dict[Value, None]] = {}, {}

    def run(self, graph: Graph) -> None:
        """See `Emitter.run`."""
        if self.integer_interface:
            self._interface = dict.fromkeys(quantised_inputs(graph, self.plan)), dict.fromkeys(quantised_outputs(graph, self.plan))
        super().run(graph)

    def emit(self, node: Node) -> None:
        """See `Emitter.emit`."""
        form = self.plan.whole.get(node)
        if node in self._done:
            return
        if form is not None:
            self._stem = node.output.name
            self._run_whole(node, form)
        elif not self._is_virtual(node):
            super().emit(node)

    def _is_virtual(self, node: Node) -> bool:
        """Whether a node only says how integers stand for real numbers; notes the tensor of the integers that it makes."""
        if isinstance(node.op, DequantizeLinear):
            return node.output in self.plan.grids or node.output in self.plan.stored
        if not isinstance(node.op, QuantizeLinear):
            return False
        x, grid = node.inputs[0], grid_of(node)
        assert x is not None
        if grid is None or not self._stands_for_real(node, x):
            return False
        self._stem = node.output.name
        self._integers[node.output] = self.quantised(x, grid)
        return True

    def _stands_for_real(self, node: Node, x: Value) -> bool:
        """Whether rounding may differ from ONNX's in ties: integers that other operators see are computed exactly."""
        if x in self._integers or x in self.plan.grids and self._source_of(x) is not None:
            return True
        return simulates(self.plan, node.output)

    def _source_of(self, x: Value) -> Node | None:
        """The DequantizeLinear that gives a value."""
        return x.producer if x.producer is not None and isinstance(x.producer.op, DequantizeLinear) else None

    def _run_whole(self, node: Node, form: IntegerForm) -> None:
        self._is_whole, self._pending = True, []
        chosen = node.inputs[0] if form.grid == "operand" else node.output
        self._carried = None if form.grid == "own" or chosen is None else self.plan.grid(chosen)
        try:
            form.function(self, node)
        finally:
            carried, pending = self._carried, self._pending
            self._is_whole, self._carried, self._pending = False, None, []
        for value, tensor in pending:
            wanted = self.plan.grids[value]
            self._integers[value] = tensor if carried is None or carried == wanted else self.moved(tensor, carried, wanted)

    # -- tensors ----------------------------------------------------------------------------------------------------------
    def operand(self, value: Value | None) -> int:
        """See `Emitter.operand`; while a node runs in integers, the integer tensor of a real value."""
        if value is None:
            return -1
        if self._is_whole and self.plan.grid(value) is not None:
            return self.quantised(value, self._carried)
        if value in self._tensors:
            return super().operand(value)
        if value in self._interface[1]:
            return self.quantised(value)
        if value.dtype is DType.FLOAT and (value in self.plan.grids or value in self.plan.stored):
            self._tensors[value] = self._as_real(value)
        elif value in self._integers:
            self._tensors[value] = self._as_stored(value)
        return super().operand(value)

    def _as_real(self, value: Value) -> int:
        stored = self.plan.stored.get(value)
        if stored is not None:
            return self.constant(stored.real(), value.name)
        tensor = self.quantised(value)
        y = self._tensor(value.name, DType.FLOAT, self.shape(tensor), 0, None)
        self._note_sizes(value, y)
        self.op("DEQUANTIZE", [tensor], [y], 2)
        return y

    def _as_stored(self, value: Value) -> int:
        tensor = self._integers[value]
        if value.dtype is not DType.UINT8:
            return tensor
        signed = self.parameters(tensor)
        assert signed is not None
        y = self._tensor(value.name, DType.UINT8, self.shape(tensor), 0, Quantization(signed.scale, (signed.zero_point[0] + SHIFT,)))
        self.op("QUANTIZE", [tensor], [y], 2)
        return y

    def quantised(self, value: Value, grid: Grid | None = None) -> int:
        """The integer tensor of a real value, on its own grid or on another."""
        own = self.plan.grid(value) or grid
        assert own is not None, value
        tensor = self._integers.get(value)
        if tensor is None:
            tensor = self._integers[value] = self._made(value, own)
        return tensor if grid is None or grid == own else self.moved(tensor, own, grid)

    def _made(self, value: Value, grid: Grid) -> int:
        stored = self.plan.stored.get(value)
        if stored is not None:
            return self.constant(ArrayData(stored.signed()), value.name, grid.parameters)
        if value.data is not None:
            return self.constant(constant_integers(value, grid), value.name, grid.parameters)
        source = self._source_of(value)
        code = value if value.dtype is not DType.FLOAT else source.inputs[0] if source is not None and value in self.plan.grids else None
        if code is not None:
            return self._signed(code, grid)
        was_whole, self._is_whole = self._is_whole, False
        real = self.operand(value)
        self._is_whole = was_whole
        y = self._tensor(f"{value.name}/quantised", grid.dtype, self.shape(real), 0, grid.parameters)
        self.op("QUANTIZE", [real], [y], 2 if grid.dtype is DType.INT16 else 1)
        return y

    def _signed(self, stored: Value, grid: Grid) -> int:
        """The signed tensor of a tensor of the model's own integers."""
        if stored in self._integers:
            return self._integers[stored]
        tensor = super().operand(stored)
        if stored.dtype is not DType.UINT8:
            return tensor
        y = self._tensor(f"{stored.name}/signed", grid.dtype, self.shape(tensor), 0, grid.parameters)
        self.op("QUANTIZE", [tensor], [y], 2)
        return y

    def moved(self, tensor: int, own: Grid, grid: Grid) -> int:
        """Integers on another grid."""
        key = tensor, grid
        if key not in self._moved:
            y = self._moved[key] = self._tensor(f"{self._stem}/moved", grid.dtype, self.shape(tensor), 0, grid.parameters)
            self.op("QUANTIZE", [tensor], [y], 2)
        return self._moved[key]

    def result(self, value: Value) -> int:
        """See `Emitter.result`; while a node runs in integers, an integer tensor for a real value."""
        if value in self._interface[0]:
            return self._integer_tensor(value, self.plan.grids[value])
        if not self._is_whole or value not in self.plan.grids:
            return super().result(value)
        tensor = self._integer_tensor(value, self._carried or self.plan.grids[value])
        self._pending.append((value, tensor))
        return tensor

    def _integer_tensor(self, value: Value, grid: Grid) -> int:
        shape = [d if isinstance(d, int) else None for d in value.tensor.shape or ()]
        tensor = self._integers[value] = self._tensor(value.name, grid.dtype, shape, 0, grid.parameters)
        self._note_sizes(value, tensor)
        return tensor

    def alias(self, value: Value, tensor: int) -> None:
        """See `Emitter.alias`."""
        if not self._is_whole or value not in self.plan.grids:
            super().alias(value, tensor)
            return
        self._note_sizes(value, tensor)
        self._pending.append((value, tensor))

    def temporary(self, shape: Sequence[Any], dtype: DType, quantization: Quantization | None = None) -> int:
        """See `Emitter.temporary`; integers that stand for real numbers keep the grid that the node works with."""
        if quantization is None and self._is_whole and dtype in WHOLE and self._carried is not None:
            quantization = self._carried.parameters
        return super().temporary(shape, dtype, quantization)

    def number(self, value: float, dtype: DType = DType.FLOAT) -> int:
        """See `Emitter.number`; integers that stand for real numbers are on the grid that the node works with."""
        if self._is_whole and dtype in WHOLE and self._carried is not None:
            return self.constant(ArrayData(np.asarray(value, dtype.numpy)), quantization=self._carried.parameters)
        return super().number(value, dtype)

    def on(self, grid: Grid, shape: Sequence[Any]) -> int:
        """A temporary tensor on a grid."""
        return super().temporary(shape, grid.dtype, grid.parameters)

    def activated(self, node: Node) -> tuple[int, int]:
        """See `Emitter.activated`; of a node that runs in integers only an activation on the same grid is applied."""
        if not self._is_whole:
            return super().activated(node)
        reader = self.only_reader(node)
        name = fusible_activation(reader) if reader is not None and reader in self.plan.whole else ""
        if reader is not None and name and self.plan.grids.get(reader.output) == self.plan.grids.get(node.output):
            self.absorb(reader)
            return self.result(reader.output), activation(name)
        return self.result(node.output), activation("NONE")

    def filters(self, stored: Stored, array: Any, scales: Sequence[float], axis: int, name: str) -> int:
        """Symmetric weights: the integers of a constant in the order that a kernel wants, with a scale for each index of an axis."""
        parameters = Quantization(tuple(scales), (0,) * len(scales), axis)
        dtype = DType.INT4 if stored.dtype is DType.INT4 else DType.INT8
        return self.constant(ArrayData(np.ascontiguousarray(array), dtype), name, parameters)


def quantised_inputs(graph: Graph, plan: Plan) -> list[Value]:
    """The float32 inputs that are quantised wherever they are read."""
    return [v for v in graph.inputs if v.dtype is DType.FLOAT and v in plan.grids]


def quantised_outputs(graph: Graph, plan: Plan) -> list[Value]:
    """The float32 outputs that integers stand for."""
    return [v for v in graph.outputs if v.dtype is DType.FLOAT and v in plan.grids and v.data is None and v not in plan.stored]
