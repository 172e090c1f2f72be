"""The kernels that will really run, in order, with the tensors that they read and write.

A schedule is made from a graph: of plain nodes, of fused regions (one kernel each), or of the graph that a backend has optimised. A backend
that knows better builds `KernelInstance`s itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..ir.dims import Dim, Expr, minimum, symbol
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.op import Opaque
from ..ir.types import OptionalType, SequenceType, TensorType, Type
from .flops import vector_flops
from .geometry import geometry
from .geometry_parts import Geometry, is_view
from .operators import CONTROL
from .precision import Precision, precision_of
from .work import node_macs

Role = Literal["input", "output", "weight", "activation"]
_PARTIAL = ("Gather", "GatherElements", "GatherND", "Slice", "Split", "GatherBlockQuantized", "Trilu", "TopK", "SequenceAt")
_UNREAD = ("Shape", "Size", "ConstantOfShape", "EyeLike", "SequenceLength", "RandomNormalLike", "RandomUniformLike")
_INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
            "QAttention", "DynamicQuantizeLSTM")  # fmt: skip
_NOT_FOLDED = ("QuantizeLinear", "DequantizeLinear")  # of constants: what quantised weights look like
TYPICAL = 64  # of a symbol, where an order is needed before sizes are known


@dataclass(frozen=True)
class Tensor:
    """A block of memory that kernels read or write.

    Attributes:
        name: the value's name.
        bytes: its size.
        role: what it is.
    """

    name: str
    bytes: Dim
    role: Role


@dataclass(frozen=True)
class Access:
    """One kernel's use of a tensor: its position in `Schedule.tensors` and the bytes that are touched."""

    tensor: int
    bytes: Dim
    write: bool = False


@dataclass(frozen=True)
class KernelInstance:
    """One kernel launch.

    Attributes:
        name: the node's name.
        op: the operator's qualified name.
        geometry: kernel class and sizes.
        dtype: short name of the element type that it computes in.
        macs: multiply-accumulates.
        flops: all operations.
        accesses: reads, then writes.
        count: how often it runs in one inference.
        nodes: names of the graph's nodes that it stands for.
        sources: names of the nodes of the imported model.
        known: whether operator and sizes are known.
    """

    name: str
    op: str
    geometry: Geometry
    dtype: str
    macs: Dim
    flops: Dim
    accesses: tuple[Access, ...]
    count: Dim = 1
    nodes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    known: bool = True

    @property
    def bytes(self) -> Dim:
        """Bytes read and written when every operand is touched once."""
        total: Dim = 0
        for access in self.accesses:
            total = total + access.bytes
        return total


@dataclass
class Schedule:
    """Kernels in order and the tensors they share.

    Attributes:
        kernels: in the order of execution.
        tensors: every block of memory once.
        inputs: symbols of the model's inputs; a prediction needs their values.
        free: symbols of sizes that only the data decide (trip counts, numbers of detections); a prediction assumes them.
        precision: in which the model is priced.
    """

    kernels: list[KernelInstance] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    precision: Precision = field(default_factory=Precision)

    @property
    def weight_bytes(self) -> Dim:
        """Bytes of all constants that kernels read."""
        total: Dim = 0
        for tensor in self.tensors:
            total = total + tensor.bytes if tensor.role == "weight" else total
        return total


def build_schedule(graph: Graph, precision: str | Precision = "native", im2col: bool = False, fold_quantization: bool = True) -> Schedule:
    """The schedule of a graph in its order.

    Args:
        graph: of nodes or regions.
        precision: element types that replace those of floating-point tensors.
        im2col: convolutions unfold their operand into a matrix first.
        fold_quantization: QuantizeLinear and DequantizeLinear around an operator become part of its kernel, as backends do.

    Raises:
        Diagnostic: E1014 for an unknown precision.
    """
    builder = _Builder(precision_of(precision), im2col, fold_quantization)
    builder.outputs = set(graph.outputs)
    builder.add(graph, 1)
    inputs: dict[str, None] = {}
    for value in graph.inputs:
        inputs.update(dict.fromkeys(_type_symbols(value.type)))
    schedule = Schedule(builder.kernels, builder.tensors, tuple(inputs), precision=builder.precision)
    schedule.free = tuple(s for s in _symbols(schedule) if s not in inputs)
    return schedule


def _symbols(schedule: Schedule) -> dict[str, None]:
    found: dict[str, None] = {}
    for dim in _dims(schedule):
        if isinstance(dim, Expr):
            found.update(dict.fromkeys(dim.symbols()))
    return found


def _dims(schedule: Schedule) -> Iterator[Dim]:
    for tensor in schedule.tensors:
        yield tensor.bytes
    for kernel in schedule.kernels:
        yield from (kernel.macs, kernel.flops, kernel.count)
        yield from kernel.geometry.sizes.values()
        yield from (a.bytes for a in kernel.accesses)


def _type_symbols(type_: Type) -> Iterator[str]:
    if isinstance(type_, SequenceType | OptionalType):
        yield from _type_symbols(type_.element)
    elif isinstance(type_, TensorType):
        for dim in type_.shape or ():
            if isinstance(dim, Expr):
                yield from dim.symbols()


def label(node: Node) -> str:
    """How reports name a node."""
    return node.name or (node.outputs[0].name if node.outputs else node.op.qualified_name)


class _Builder:
    def __init__(self, precision: Precision, im2col: bool, fold: bool) -> None:
        self.precision, self.im2col, self.fold = precision, im2col, fold
        self.kernels: list[KernelInstance] = []
        self.tensors: list[Tensor] = []
        self.outputs: set[Value] = set()
        self.position: dict[object, int] = {}
        self.alias: dict[Value, Value] = {}
        self.folded: set[Value] = set()

    # -- nodes -------------------------------------------------------------------------------------------------------
    def add(self, graph: Graph, count: Dim) -> None:
        for node in graph:
            if self._is_constant(node):
                self.folded.update(node.outputs)
                continue
            if self.fold and self._fold(node):
                continue
            if is_view(node):
                operand = node.operand(0)
                if operand is not None:
                    self.alias[node.output] = operand
                self._append(node, count, ())
            elif node.op.op_name in CONTROL and node.regions:
                self._control(node, count)
            else:
                self._append(node, count, tuple(self._accesses(node)))

    def _is_constant(self, node: Node) -> bool:
        """Whether the result is the same in every run: runtimes compute it when they load the model."""
        if not node.op.pure or node.regions or isinstance(node.op, Opaque) or node.op.op_name in _NOT_FOLDED:
            return False
        return all(v is None or v.is_constant or v in self.folded for v in node.inputs)

    def _append(self, node: Node, count: Dim, accesses: tuple[Access, ...]) -> None:
        found = geometry(node, self.im2col)
        macs = 0 if node.op.op_name in CONTROL and node.regions else node_macs(node)
        rest = vector_flops(node)
        inner = tuple(label(n) for region in node.regions for n in region) if node.op.op_name == "Region" else (label(node),)
        known = macs is not None and found.kernel != "unknown"
        macs = macs if macs is not None else 0
        flops = macs * 2 + (rest if rest is not None else 0)
        kernel = KernelInstance(
            label(node), node.op.qualified_name, found, self._dtype(node), macs, flops, accesses, count, inner, node.sources, known
        )
        self.kernels.append(kernel)

    def _dtype(self, node: Node) -> str:
        main = next((n for n in node.regions[0] if node_macs(n) != 0), None) if node.op.op_name == "Region" else node
        main = main or node
        dtypes = [v.dtype for v in (*main.inputs, *main.outputs) if v is not None and v.dtype is not None]
        dtype = dtypes[0] if dtypes else DType.FLOAT
        if node_macs(main) == 0:
            return self.precision.element_type(dtype)
        if main.op.op_name in _INTEGER:
            return "i8"
        operands = [self._root(v) for v in main.inputs[:2] if v is not None]
        if self.fold and len(operands) == 2 and all(v.dtype in (DType.INT8, DType.UINT8) for v in operands):
            return "i8"
        return self.precision.compute_type(dtype)

    def _control(self, node: Node, count: Dim) -> None:
        """The kernels of the bodies: of the heavier branch of If, as often as a loop turns."""
        self._append(node, count, ())
        if node.op.op_name == "If":
            self.add(max(node.regions, key=_weight), count)
            chosen = max(node.regions, key=_weight)
            self.alias.update(zip(node.outputs, chosen.outputs, strict=False))
            return
        body = node.regions[0]
        trips: Dim = symbol(f"{label(node)}.trips")
        if node.op.op_name == "Loop":
            limit = node.operand(0)
            content = limit.content if limit is not None else None
            if content is not None and content[0] is not None and _bounded(content[0]):
                trips = content[0]
            self.alias.update((inner, outer) for inner, outer in zip(body.inputs[2:], node.inputs[2:], strict=False) if outer is not None)
        elif node.op.op_name == "Scan":
            attributes = dict(node.op.attributes())
            scanned = attributes.get("num_scan_inputs", 1)
            states = len(node.inputs) - scanned
            operand = node.operand(states)
            axis = (attributes.get("scan_input_axes") or (0,))[0]
            if operand is not None and operand.shape is not None:
                trips = operand.shape[axis]
            self.alias.update((i, o) for i, o in zip(body.inputs[:states], node.inputs[:states], strict=False) if o is not None)
        self.add(body, count * trips)

    # -- quantisation ------------------------------------------------------------------------------------------------
    def _fold(self, node: Node) -> bool:
        """Let a DequantizeLinear be its operand, and the operand of a QuantizeLinear that nothing else reads its result."""
        name, operand = node.op.op_name, node.operand(0)
        if operand is None or name not in ("QuantizeLinear", "DequantizeLinear"):
            return False
        if name == "DequantizeLinear":
            quantised = operand.producer is not None and operand.producer.op.op_name == "QuantizeLinear"
            if not (operand.is_constant or operand in self.folded or quantised):
                return False
            self.alias[node.output] = operand
            return True
        if operand.producer is None or len(operand.uses) != 1 or node.output in self.outputs:
            return False
        written = self.position.get(self._root(operand))
        if written is None:
            return False
        self._shrink(written, node.output)
        return True

    def _shrink(self, index: int, result: Value) -> None:
        """The tensor holds the quantised value from now on."""
        size = self.precision.bytes(result.type)
        if size is None:
            return
        old = self.tensors[index].bytes
        self.tensors[index] = Tensor(result.name, size, self.tensors[index].role)
        self.position[result] = index
        last = self.kernels[-1]
        accesses = tuple(Access(a.tensor, size, a.write) if a.tensor == index and a.bytes == old else a for a in last.accesses)
        self.kernels[-1] = KernelInstance(**{**last.__dict__, "accesses": accesses})

    # -- tensors -----------------------------------------------------------------------------------------------------
    def _root(self, value: Value) -> Value:
        while value in self.alias:
            value = self.alias[value]
        return value

    def _tensor(self, value: Value) -> int:
        root = self._root(value)
        key: object = id(root.data) if root.data is not None else root
        found = self.position.get(key)
        if found is None:
            fixed = root.is_constant or root in self.folded
            size = self.precision.bytes(root.type, fixed)
            role: Role = "weight" if fixed else "input" if root.is_input else "output" if root in self.outputs else "activation"
            found = self.position[key] = len(self.tensors)
            self.tensors.append(Tensor(root.name, size if size is not None else 0, role))
        return found

    def _accesses(self, node: Node) -> Iterator[Access]:
        seen: dict[int, None] = {}
        for value, touched in self._reads(node):
            index = self._tensor(value)
            if index in seen:
                continue
            seen[index] = None
            whole = self.tensors[index].bytes
            yield Access(index, whole if touched is None else minimum(whole, touched))
        for value in node.outputs:
            if value.uses or value in self.outputs:
                index = self._tensor(value)
                yield Access(index, self.tensors[index].bytes, True)

    def _reads(self, node: Node) -> Iterator[tuple[Value, Dim | None]]:
        """Values that are read, with the bytes that are touched where these are not all."""
        if node.op.op_name in _UNREAD:
            return
        shapes = () if isinstance(node.op, Opaque) else node.op.shape_operands
        results = self.precision.bytes(node.outputs[0].type) if node.outputs and node.op.op_name in _PARTIAL else None
        for index, value in enumerate(node.inputs):
            if value is not None and index not in shapes:
                yield value, results if index == 0 and results is not None else None
        if node.op.op_name == "Region":
            for inner in node.regions[0]:
                for index, value in enumerate(inner.inputs):
                    if value is not None and value.is_constant and index not in inner.op.shape_operands:
                        yield value, None


def _weight(graph: Graph) -> float:
    """The work of a branch when every symbol is `TYPICAL`; its number of nodes where that is nothing."""
    from .work import graph_work

    work = graph_work(graph).macs
    if isinstance(work, Expr):
        filled = work.substitute(dict.fromkeys(work.symbols(), TYPICAL))
        work = filled if isinstance(filled, int) else 0
    return work + 1e-3 * sum(1 for _ in graph.walk())


def _bounded(trips: Dim) -> bool:
    return isinstance(trips, Expr) or trips < 1 << 31
