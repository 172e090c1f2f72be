"""What emit functions write with: tensors for values, constants, temporaries, and operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.data import ArrayData, TensorData
from ...ir.dims import Dim
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.ops.activation import Clip, Relu
from ..backend import Verdict, refuse
from .registry import emission_of
from .schema import enumerator, tensor_type
from .writer import FlatModel, Operator, Quantization

Size = int | None
_CLIPS = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


@dataclass
class Winograd:
    """What minimal filtering did to a model.

    Attributes:
        convolutions: the results of those that it computes.
        added_bytes: by how much their weights grew.
    """

    convolutions: list[str] = field(default_factory=list)
    added_bytes: int = 0


class Emitter:
    """Writes the nodes of one graph into one subgraph of a flat model.

    Tensors are meant by their index. Every tensor that a helper makes is a new one.

    Attributes:
        model: the flat model.
        subgraph: where tensors and operators go.
        winograd: where to note convolutions that are written by minimal filtering; None when none should be.
        quantization: the parameters of values that stand for real numbers.
    """

    def __init__(self, model: FlatModel, name: str = "main", *, winograd: Winograd | None = None) -> None:
        self.model, self.winograd = model, winograd
        self.subgraph = model.subgraph(name)
        self.quantization: dict[Value, Quantization] = {}
        self._tensors: dict[Value, int] = {}
        self._constants: dict[tuple[int, DType, tuple[int, ...], Quantization | None], int] = {}
        self._types: list[DType] = []
        self._shapes: dict[tuple[int, DType], int] = {}
        self._vectors: dict[tuple[Dim, ...], int] = {}
        self._sizes: dict[Dim, tuple[int, int]] = {}
        self._done: set[Node] = set()
        self._stem = name

    # -- the graph --------------------------------------------------------------------------------------------------------
    def run(self, graph: Graph) -> None:
        """Write a whole graph with its inputs and outputs.

        Raises:
            Diagnostic: E0501 for a node that no entry of the registry takes.
        """
        for value in graph.inputs:
            self.subgraph.inputs.append(self.result(value))
        for node in graph:
            self.emit(node)
        taken = set(self.subgraph.inputs)
        for value, name in zip(graph.outputs, graph.output_names, strict=True):
            self._stem = name
            index = self.operand(value)
            if index in taken or value.data is not None:
                index = self.copied(index)
            taken.add(index)
            self.subgraph.outputs.append(index)

    def emit(self, node: Node) -> None:
        """Write one node, unless it was fused into the one before."""
        if node in self._done:
            return
        found = emission_of(node)
        if isinstance(found, Verdict):
            raise refuse("tflite", [(node, found)])
        self._stem = node.output.name if node.outputs else node.name
        found.function(self, node)

    def handles(self) -> dict[str, list[str]]:
        """The origins of the values that were written, by tensor name."""
        tensors = self.subgraph.tensors
        return {tensors[index].name: list(value.origins) for value, index in self._tensors.items() if value.origins}

    # -- tensors ----------------------------------------------------------------------------------------------------------
    def operand(self, value: Value | None) -> int:
        """The tensor of a value that was written before, of a constant, or -1 for an absent operand."""
        if value is None:
            return -1
        found = self._tensors.get(value)
        if found is None:
            if value.data is None:
                raise KeyError(f"the value '{value.name}' is read before it is written")
            found = self._tensors[value] = self.constant(value.data, value.name, self.quantization.get(value))
        return found

    def result(self, value: Value) -> int:
        """The new tensor of a graph input or of a node's result."""
        type_ = value.tensor
        assert type_.shape is not None and value not in self._tensors, value
        shape = [d if isinstance(d, int) else None for d in type_.shape]
        index = self._tensors[value] = self._tensor(value.name, type_.dtype, shape, 0, self.quantization.get(value))
        self._note_sizes(value, index)
        return index

    def _note_sizes(self, value: Value, index: int) -> None:
        for axis, dim in enumerate(value.shape or ()):
            if not isinstance(dim, int):
                self._sizes.setdefault(dim, (index, axis))

    def alias(self, value: Value, tensor: int) -> None:
        """Let a value that needs no operator of its own stand for a tensor."""
        assert value not in self._tensors, value
        self._tensors[value] = tensor
        self._note_sizes(value, tensor)

    def constant(self, data: Any, name: str = "", quantization: Quantization | None = None) -> int:
        """A constant tensor of an array or `TensorData`; equal ones are shared."""
        held = data if isinstance(data, TensorData) else ArrayData(np.asarray(data))
        buffer = self.model.buffer(held)
        key = (buffer, held.dtype, held.shape, quantization)
        found = self._constants.get(key)
        if found is None:
            found = self._tensor(name or f"{self._stem}/constant", held.dtype, held.shape, buffer, quantization)
            self._constants[key] = found
        return found

    def array(self, value: Value) -> Any:
        """The elements of a constant; E0510 when no file can hold as many."""
        assert value.data is not None, value
        self.model.admit(value.data)
        return value.data.numpy()

    def ints(self, values: Sequence[int]) -> int:
        """A vector of int32: a shape, axes, sizes."""
        return self.constant(np.asarray(values, np.int32).reshape(-1))

    def number(self, value: float, dtype: DType = DType.FLOAT) -> int:
        """A scalar constant."""
        return self.constant(ArrayData(np.asarray(value, dtype.numpy)))

    def temporary(self, shape: Sequence[Any], dtype: DType, quantization: Quantization | None = None) -> int:
        """A tensor between two operators of one node; sizes that are not integers are known at run time only."""
        sizes = [int(d) if isinstance(d, int | np.integer) else None for d in shape]
        return self._tensor(f"{self._stem}/part", dtype, sizes, 0, quantization)

    def parameters(self, tensor: int) -> Quantization | None:
        """How the integers of a tensor stand for real numbers, None when they stand for themselves."""
        return self.subgraph.tensors[tensor].quantization

    def like(self, tensor: int, shape: Sequence[Any]) -> int:
        """A temporary tensor with the elements of another, in another shape."""
        return self.temporary(shape, self.dtype(tensor), self.parameters(tensor))

    def _tensor(self, name: str, dtype: DType, shape: Sequence[Size], buffer: int, quantization: Quantization | None) -> int:
        self._types.append(dtype)
        return self.subgraph.tensor(name, tensor_type(dtype), shape, buffer, quantization)

    def shape(self, tensor: int) -> tuple[Size, ...]:
        """The sizes of a tensor, None where they are known at run time only."""
        return self.subgraph.tensors[tensor].shape

    def name(self, tensor: int) -> str:
        """The name of a tensor."""
        return self.subgraph.tensors[tensor].name

    def dtype(self, tensor: int) -> DType:
        """The element type of a tensor."""
        return self._types[tensor]

    # -- operators --------------------------------------------------------------------------------------------------------
    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        """Append a builtin operator; ``options`` are fields of its option table, texts are names of their enumeration."""
        code = self.model.operator_code(name, version)
        self.subgraph.operators.append(Operator(code, name, tuple(inputs), tuple(outputs), options))

    def only_user(self, node: Node) -> Node | None:
        """The node that alone reads the first result of a node, once, when nothing else does."""
        uses = list(node.output.uses)
        if len(uses) != 1 or any(v.uses for v in node.outputs[1:]):
            return None
        user = uses[0][0]
        return user if isinstance(user, Node) and user.graph is node.graph else None

    def only_reader(self, node: Node) -> Node | None:
        """Likewise, when it reads the result as its first operand."""
        user = self.only_user(node)
        return user if user is not None and user.inputs[0] is node.output else None

    def absorb(self, node: Node) -> None:
        """Count a node as written: an earlier operator computes its result."""
        self._done.add(node)

    def activated(self, node: Node) -> tuple[int, int]:
        """The tensor for the first result of a node and the code of the activation that its kernel applies.

        When the only reader of a float32 result is an activation that kernels can apply, the reader's result is written instead and
        the reader is done.
        """
        reader = self.only_reader(node) if node.output.dtype is DType.FLOAT else None
        name = fusible_activation(reader) if reader is not None else ""
        if reader is not None and name:
            self.absorb(reader)
            return self.result(reader.output), activation(name)
        return self.result(node.output), activation("NONE")

    # -- helpers: each appends operators and gives the new tensor ---------------------------------------------------------
    def unary(self, name: str, x: int, dtype: DType | None = None, **options: Any) -> int:
        """An operator of one tensor that keeps its shape."""
        y = self.temporary(self.shape(x), dtype or self.dtype(x))
        self.op(name, [x], [y], **options)
        return y

    def binary(self, name: str, x: int, y: int, dtype: DType | None = None, **options: Any) -> int:
        """An operator of two tensors that broadcasts."""
        z = self.temporary(broadcast(self.shape(x), self.shape(y)), dtype or self.dtype(x))
        self.op(name, [x, y], [z], **options)
        return z

    def cast(self, x: int, dtype: DType) -> int:
        """The tensor in an element type; the tensor itself when it has it."""
        if self.dtype(x) is dtype:
            return x
        y = self.temporary(self.shape(x), dtype)
        self.cast_into(x, y)
        return y

    def cast_into(self, x: int, y: int) -> None:
        """Convert elements into another tensor."""
        codes = {"inDataType": tensor_type(self.dtype(x)), "outDataType": tensor_type(self.dtype(y))}
        self.op("CAST", [x], [y], **codes)

    def reshaped(self, x: int, shape: Sequence[Any]) -> int:
        """The elements in another shape of which at most one size is not an integer; the tensor itself when it has it."""
        sizes = tuple(int(d) if isinstance(d, int | np.integer) else None for d in shape)
        if sizes == self.shape(x) and None not in sizes:
            return x
        y = self.like(x, sizes)
        self.reshape_into(x, y, sizes)
        return y

    def reshape_into(self, x: int, y: int, shape: Sequence[Size]) -> None:
        """Give the elements another shape of which at most one size is not an integer."""
        sizes = [-1 if d is None else d for d in shape]
        assert sizes.count(-1) <= 1, "more than one size is not known"
        self.op("RESHAPE", [x, self.ints(sizes)], [y], newShape=sizes)

    def transposed(self, x: int, perm: Sequence[int]) -> int:
        """The tensor with its dimensions in another order; the tensor itself when the order is the present one."""
        perm = [int(p) for p in perm]
        if perm == list(range(len(perm))):
            return x
        y = self.like(x, [self.shape(x)[p] for p in perm])
        self.op("TRANSPOSE", [x, self.ints(perm)], [y])
        return y

    def shape_of(self, x: int, dtype: DType = DType.INT32) -> int:
        """The sizes of a tensor as a vector, computed at run time."""
        y = self._shapes.get((x, dtype))
        if y is None:
            y = self._shapes[x, dtype] = self.temporary([len(self.shape(x))], dtype)
            self.op("SHAPE", [x], [y], outType=tensor_type(dtype))
        return y

    def shape_vector(self, dims: Sequence[Dim]) -> int | None:
        """Dimensions as a vector of int32, made from the shapes of tensors that were written before.

        None when an expression is not the size of any of them.
        """
        key = tuple(dims)
        if all(isinstance(d, int) for d in key):
            return self.ints(key)  # type: ignore[arg-type]
        found = self._vectors.get(key)
        if found is None and all(isinstance(d, int) or d in self._sizes for d in key):
            found = self._vectors[key] = self._gathered_sizes(key)
        return found

    def _gathered_sizes(self, dims: Sequence[Dim]) -> int:
        sources = list(dict.fromkeys(self._sizes[d][0] for d in dims if not isinstance(d, int)))
        numbers = list(dict.fromkeys(d for d in dims if isinstance(d, int)))
        starts: dict[int, int] = {}
        length = 0
        for source in sources:
            starts[source] = length
            length += len(self.shape(source))
        index = [length + numbers.index(d) if isinstance(d, int) else starts[self._sizes[d][0]] + self._sizes[d][1] for d in dims]
        parts = [self.shape_of(source) for source in sources] + ([self.ints(numbers)] if numbers else [])
        whole = parts[0]
        if len(parts) > 1:
            whole = self.temporary([length + len(numbers)], DType.INT32)
            self.op("CONCATENATION", parts, [whole], axis=0, fusedActivationFunction=0)
        if index == list(range(length + len(numbers))):
            return whole
        y = self.temporary([len(index)], DType.INT32)
        self.op("GATHER", [whole, self.ints(index)], [y], axis=0)
        return y

    def copied(self, x: int) -> int:
        """The same elements in a tensor of their own."""
        y = self.like(x, self.shape(x))
        self.copy_into(x, y)
        return y

    def copy_into(self, x: int, y: int) -> None:
        """Write the same elements into a tensor of the same shape."""
        if self.shape(x).count(None) <= 1:
            self.reshape_into(x, y, self.shape(x))
        else:
            self.op("RESHAPE", [x, self.shape_of(x)], [y])


def activation(name: str) -> int:
    """The code of a fused activation."""
    return enumerator("ActivationFunctionType", name)


def fusible_activation(node: Node) -> str:
    """The name of the fused activation that does what a node does; empty when there is none."""
    if isinstance(node.op, Relu):
        return "RELU"
    if isinstance(node.op, Clip):
        bounds = tuple(_single(node.operand(i)) for i in (1, 2))
        return _CLIPS.get(bounds, "") if None not in bounds else ""  # type: ignore[arg-type]
    return ""


def _single(value: Value | None) -> float | None:
    if value is None or value.data is None or len(value.data.numpy().reshape(-1)) != 1:
        return None
    return float(value.data.numpy().reshape(-1)[0])


def broadcast(x: Sequence[Size], y: Sequence[Size]) -> tuple[Size, ...]:
    """The shape of two operands of a binary operator together."""
    rank = max(len(x), len(y))
    left, right = [1] * (rank - len(x)) + list(x), [1] * (rank - len(y)) + list(y)
    return tuple(b if a == 1 else a if b == 1 or a is not None else b for a, b in zip(left, right, strict=True))
