"""The graph: values, nodes and their use-def chains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .data import ArrayData, TensorData
from .diagnostics import E_GRAPH, Diagnostic
from .dtypes import DType
from .op import Op, infer_types
from .types import CONTENT_LIMIT, NUMBERS_LIMIT, TensorType, Type, name_unknown_dims


class Value:
    """A graph input, a node result or a constant.

    Attributes:
        name: unique within the model when written; rewrites keep the name of the value they replace.
        type: its type; for small integer tensors the type's ``content`` says what is known of the elements.
        producer: the node that defines it, None for inputs and constants.
        index: its position among the producer's results or the graph's inputs.
        data: the contents, for constants only.
        uses: the places that read it, in insertion order: ``(node, operand position)`` or ``(graph, output position)``.
        origins: names of the values of the imported model that this value equals: the debug handle of comparisons.
    """

    __slots__ = ("name", "type", "producer", "index", "data", "graph", "uses", "origins")

    def __init__(
        self,
        name: str,
        type: Type,
        *,
        producer: Node | None = None,
        index: int = 0,
        data: TensorData | None = None,
        graph: Graph | None = None,
        origins: tuple[str, ...] = (),
    ) -> None:
        self.name, self.type, self.producer, self.index = name, type, producer, index
        self.data, self.graph, self.origins = data, graph, origins
        self.uses: dict[tuple[Node | Graph, int], None] = {}

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_input(self) -> bool:
        """Whether this is an input of some graph (of the model or of a region)."""
        return self.graph is not None

    @property
    def tensor(self) -> TensorType:
        """The type of a tensor value; `Diagnostic` when it is not a tensor."""
        if isinstance(self.type, TensorType):
            return self.type
        raise Diagnostic(E_GRAPH, f"a tensor is needed here, not {self.type}", f"value '{self.name}'")

    @property
    def shape(self) -> tuple[Any, ...] | None:
        """The dimensions of a tensor, None when unknown or not a tensor."""
        return self.type.shape if isinstance(self.type, TensorType) else None

    @property
    def rank(self) -> int | None:
        shape = self.shape
        return None if shape is None else len(shape)

    @property
    def dtype(self) -> DType | None:
        return self.type.dtype if isinstance(self.type, TensorType) else None

    @property
    def content(self) -> tuple[Any, ...] | None:
        """What inference knows of the elements (see `TensorType.content`), also for small constants."""
        return self.type.content if isinstance(self.type, TensorType) else None

    @property
    def ints(self) -> tuple[int, ...] | None:
        """The elements when all are known integers: axes, pads, shapes …"""
        return self.type.static_content if isinstance(self.type, TensorType) else None

    def users(self) -> list[Node]:
        """The distinct nodes that read the value, in order; graph outputs are not listed."""
        return list(dict.fromkeys(user for user, _ in self.uses if isinstance(user, Node)))

    @property
    def is_output(self) -> bool:
        """Whether some graph returns the value."""
        return any(isinstance(user, Graph) for user, _ in self.uses)

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


def constant_type(data: TensorData) -> TensorType:
    """The type of a constant; integers and bools up to `CONTENT_LIMIT` elements carry their content, a few floats their numbers."""
    count = 1
    for dim in data.shape:
        count *= dim
    if count <= CONTENT_LIMIT and (data.dtype.is_integer or data.dtype is DType.BOOL):
        return TensorType(data.dtype, data.shape, tuple(int(x) for x in data.numpy().reshape(-1).tolist()))
    if count <= NUMBERS_LIMIT and data.dtype.is_float:
        return TensorType(data.dtype, data.shape, None, tuple(float(x) for x in data.numpy().reshape(-1).tolist()))
    return TensorType(data.dtype, data.shape)


def constant(data: Any, name: str = "", dtype: DType | None = None) -> Value:
    """A constant value from `TensorData`, an array, or nested numbers (give ``dtype`` for Python numbers)."""
    held = data if isinstance(data, TensorData) else ArrayData(data, dtype)
    return Value(name, constant_type(held), data=held)


def int64s(values: Iterable[int], name: str = "") -> Value:
    """A one-dimensional int64 constant: shapes, axes, pads."""
    return constant(list(values), name, DType.INT64)


class Node:
    """One application of an operator. Results that nobody names are simply values without uses.

    Attributes:
        sources: names of the ONNX nodes it came from (several after a fusion): the debug handle.
        regions: subgraphs of control-flow and grouping operators; they may read values of the enclosing graphs.
        metadata: string properties carried from and to the file.
    """

    __slots__ = ("op", "inputs", "outputs", "regions", "graph", "name", "sources", "metadata", "previous", "next")

    def __init__(self, op: Op, inputs: Sequence[Value | None], regions: Sequence[Graph] = (), name: str = "") -> None:
        self.op, self.name = op, name
        self.inputs: tuple[Value | None, ...] = tuple(inputs)
        self.outputs: tuple[Value, ...] = ()
        self.regions: tuple[Graph, ...] = tuple(regions)
        self.graph: Graph | None = None
        self.sources: tuple[str, ...] = ()
        self.metadata: dict[str, str] = {}
        self.previous: Node | None = None
        self.next: Node | None = None

    @property
    def output(self) -> Value:
        """The first result."""
        return self.outputs[0]

    def operand(self, index: int) -> Value | None:
        """The operand at a position, None when it is absent or not given."""
        return self.inputs[index] if index < len(self.inputs) else None

    def set_operand(self, index: int, value: Value | None) -> None:
        """Replace one operand and keep the use lists right; types are not re-inferred."""
        old = self.inputs[index]
        if old is value:
            return
        if old is not None:
            del old.uses[(self, index)]
        if value is not None:
            value.uses[(self, index)] = None
        self.inputs = (*self.inputs[:index], value, *self.inputs[index + 1 :])

    def set_operands(self, values: Sequence[Value | None]) -> None:
        """Replace all operands."""
        self._drop_uses()
        self.inputs = tuple(values)
        self._add_uses()

    def _add_uses(self) -> None:
        for index, value in enumerate(self.inputs):
            if value is not None:
                value.uses[(self, index)] = None

    def _drop_uses(self) -> None:
        for index, value in enumerate(self.inputs):
            if value is not None:
                del value.uses[(self, index)]

    @property
    def where(self) -> str:
        """How diagnostics name the node."""
        label = self.name or (self.outputs[0].name if self.outputs else "")
        return f"node '{label}' ({self.op.qualified_name})"

    def infer(self) -> tuple[Type, ...]:
        """The result types inferred from the present operands."""
        types = [None if v is None else v.type for v in self.inputs]
        return infer_types(self.op, types, len(self.outputs), self.regions, self.where)

    def __repr__(self) -> str:
        results = ", ".join(f"%{v.name}" for v in self.outputs)
        operands = ", ".join("none" if v is None else f"%{v.name}" for v in self.inputs)
        return f"{results} = {self.op.qualified_name}({operands})"


class Graph:
    """An ordered list of nodes with inputs and outputs; operands are defined before their uses.

    Regions of control-flow nodes are graphs whose ``parent`` is the node that holds them.
    """

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.outputs: tuple[Value, ...] = ()
        self.output_names: tuple[str, ...] = ()
        self.parent: Node | None = None
        self.first: Node | None = None
        self.last: Node | None = None
        self.count = 0
        self._serial = 0

    # -- reading -----------------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Node]:
        """The nodes in order. A node that the loop body removes is fine; nodes inserted later in the list are visited."""
        node = self.first
        while node is not None:
            yield node
            node = node.next  # a removed node keeps its link to what followed it
            while node is not None and node.graph is not self:
                node = node.next

    def __len__(self) -> int:
        return self.count

    def walk(self) -> Iterator[Node]:
        """All nodes, those of regions right after the node that holds them."""
        for node in self:
            yield node
            for region in node.regions:
                yield from region.walk()

    def graphs(self) -> Iterator[Graph]:
        """This graph and all graphs of regions below it."""
        yield self
        for node in self:
            for region in node.regions:
                yield from region.graphs()

    def values(self) -> Iterator[Value]:
        """Inputs and node results of this graph and the graphs below it (constants are not listed)."""
        for graph in self.graphs():
            yield from graph.inputs
            for node in graph:
                yield from node.outputs

    def constants(self) -> list[Value]:
        """The constants that nodes and outputs of this graph and the graphs below read, in order of first use."""
        found: dict[Value, None] = {}
        for graph in self.graphs():
            for node in graph:
                for value in node.inputs:
                    if value is not None and value.data is not None:
                        found[value] = None
            for value in graph.outputs:
                if value.data is not None:
                    found[value] = None
        return list(found)

    @property
    def root(self) -> Graph:
        """The outermost graph."""
        graph = self
        while graph.parent is not None and graph.parent.graph is not None:
            graph = graph.parent.graph
        return graph

    # -- building ----------------------------------------------------------------------------------------------------
    def add_input(self, name: str, type: Type) -> Value:
        """Append a graph input."""
        value = Value(name, type, graph=self, index=len(self.inputs), origins=(name,) if name else ())
        self.inputs.append(value)
        return value

    def set_outputs(self, values: Sequence[Value], names: Sequence[str] | None = None) -> None:
        """Declare what the graph returns, and under which names (default: the values' names, or those it has)."""
        for index, value in enumerate(self.outputs):
            del value.uses[(self, index)]
        self.outputs = tuple(values)
        for index, value in enumerate(self.outputs):
            value.uses[(self, index)] = None
        if names is not None:
            self.output_names = tuple(names)
        elif len(self.output_names) != len(self.outputs):
            self.output_names = tuple(v.name for v in self.outputs)

    def set_output(self, index: int, value: Value) -> None:
        """Return another value at one position."""
        del self.outputs[index].uses[(self, index)]
        self.outputs = (*self.outputs[:index], value, *self.outputs[index + 1 :])
        value.uses[(self, index)] = None

    def fresh_name(self, stem: str = "v") -> str:
        """A name that the root graph has not given before."""
        root = self.root
        root._serial += 1
        return f"{stem}_e{root._serial}"

    def insert(
        self,
        op: Op,
        operands: Sequence[Value | None],
        *,
        before: Node | None = None,
        outputs: int | None = None,
        regions: Sequence[Graph] = (),
        names: Sequence[str] = (),
        name: str = "",
        types: Sequence[Type] | None = None,
    ) -> Node:
        """Insert an application of ``op`` before a node (default: at the end) and infer its result types.

        Args:
            outputs: number of results (default: the operator's own).
            names: names of the results; missing ones are generated.
            types: result types when the caller knows them better than inference (then inference is skipped).
        """
        node = Node(op, operands, regions, name)
        wanted = outputs if outputs is not None else max(op.outputs, len(names))
        if types is None:
            label = f"node '{name or (names[0] if names else '')}' ({op.qualified_name})"
            types = infer_types(op, [None if v is None else v.type for v in operands], wanted, regions, label)
        results: list[Value] = []
        for index in range(wanted):
            result_name = names[index] if index < len(names) else self.fresh_name(op.op_name.lower())
            results.append(Value(result_name, name_unknown_dims(types[index], result_name), producer=node, index=index))
        node.outputs = tuple(results)
        node._add_uses()
        for region in regions:
            region.parent = node
        self._link(node, before)
        return node

    def add(self, op: Op, *operands: Value | None, before: Node | None = None, outputs: int | None = None) -> Any:
        """Insert an application of ``op``; gives its result, or the tuple of results when there are several."""
        node = self.insert(op, operands, before=before, outputs=outputs)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def _link(self, node: Node, before: Node | None) -> None:
        node.graph = self
        self.count += 1
        if before is None:
            node.previous, node.next = self.last, None
            if self.last is not None:
                self.last.next = node
            else:
                self.first = node
            self.last = node
            return
        node.previous, node.next = before.previous, before
        if before.previous is not None:
            before.previous.next = node
        else:
            self.first = node
        before.previous = node

    def _unlink(self, node: Node) -> None:
        if node.previous is not None:
            node.previous.next = node.next
        else:
            self.first = node.next
        if node.next is not None:
            node.next.previous = node.previous
        else:
            self.last = node.previous
        node.graph = None
        self.count -= 1

    # -- changing ----------------------------------------------------------------------------------------------------
    def move_before(self, node: Node, anchor: Node) -> None:
        """Move a node of any graph in front of ``anchor`` in this graph."""
        assert node.graph is not None
        node.graph._unlink(node)
        self._link(node, anchor)

    def move_to_end(self, node: Node) -> None:
        """Move a node of any graph to the end of this graph."""
        assert node.graph is not None
        node.graph._unlink(node)
        self._link(node, None)

    def remove(self, node: Node) -> None:
        """Remove a node whose results nobody uses (with its regions)."""
        for value in node.outputs:
            if value.uses:
                raise Diagnostic(E_GRAPH, f"cannot remove the producer of '{value.name}', which is still used", node.where)
        node._drop_uses()
        for region in node.regions:
            region.clear()
        self._unlink(node)

    def clear(self) -> None:
        """Remove every node and output of this graph and the graphs below, releasing the values they use."""
        self.set_outputs(())
        nodes = list(self)
        for node in nodes:
            node._drop_uses()
            for region in node.regions:
                region.clear()
        for node in nodes:
            self._unlink(node)

    def replace(self, old: Value, new: Value) -> None:
        """Let every use of ``old`` read ``new`` instead; ``new`` takes over the debug handle (graph outputs keep their names)."""
        if old is new:
            return
        for user, index in list(old.uses):
            if isinstance(user, Node):
                user.set_operand(index, new)
            else:
                user.set_output(index, new)
        if new.data is None:
            new.origins = new.origins + tuple(o for o in old.origins if o not in new.origins)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {self.count} nodes>"
