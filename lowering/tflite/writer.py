"""Flat models: buffers, tensors, operators and signatures in memory, written as one flatbuffer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.data import TensorData
from ...ir.diagnostics import Diagnostic, Exit, code
from ...ir.dtypes import DType
from .schema import builtin, deprecated_code, options_class, schema

E_SIZE = code(
    "E0510",
    "the model is larger than a .tflite file can be",
    "Offsets in a flatbuffer have 31 bits, so that everything together has to stay below 2 GB. Store the weights in fewer bits, or choose "
    "a target that keeps them in a file of their own.",
    Exit.TARGET_REFUSED,
)
SIZE_LIMIT = 2**31 - 2**20
FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
SIGNATURE_KEY = "serving_default"
FEWEST = 1024
"""Constants with fewer elements are always stored as they are."""
_ALIGNMENT = 16
_FRAME = 4096
_TENSOR_BYTES = 256  # a generous estimate of what a tensor, an operator or a buffer takes beside its data


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: ``scale * (q - zero_point)``.

    Attributes:
        scale: one scale, or one for each index of ``axis``.
        zero_point: as many integers.
        axis: the dimension along which they vary.
        block: elements along the last dimension that share a scale; the scales are then float16 numbers in a tensor of their own.
        scales: that tensor.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0
    block: int = 0
    scales: int = -1


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        name: unique in the subgraph.
        type_code: its element type in the schema.
        shape: its sizes, None where they are known at run time only.
        buffer: the index of its buffer; 0 when it is computed.
        quantization: for quantised tensors.
        is_variable: whether its contents survive from one run to the next.
    """

    name: str
    type_code: int
    shape: tuple[int | None, ...]
    buffer: int = 0
    quantization: Quantization | None = None
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """One application of an operator: its index among the operator codes, tensors (-1: absent), and option fields.

    For a custom operator ``custom_options`` are its bytes.
    """

    code: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    custom_options: bytes = b""


@dataclass
class SubGraph:
    """Tensors and operators in execution order."""

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        type_code: int,
        shape: Sequence[int | None],
        buffer: int = 0,
        quantization: Quantization | None = None,
        is_variable: bool = False,
    ) -> int:
        """Add a tensor and give its index; a name that is taken gets a number."""
        unique, number = name, 0
        while unique in self._names:
            number = self._names[name] = self._names[name] + 1
            unique = f"{name}.{number}"
        self._names[unique] = 0
        self.tensors.append(Tensor(unique, type_code, tuple(shape), buffer, quantization, is_variable))
        return len(self.tensors) - 1


@dataclass
class Entry:
    """A signature: public names and tensors of one subgraph."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


class FlatModel:
    """A model under construction; `bytes` and `write` serialise it.

    Equal buffers and equal operator codes are stored once. The result depends on the calls alone. What is too large for a file is refused
    as soon as that is certain: with ``shrink``, large float32 constants count with their size divided by it until they are `settled`.
    """

    def __init__(self, description: str = "", shrink: int = 1) -> None:
        self.description, self._shrink, self._judging = description, shrink, True
        self.subgraphs: list[SubGraph] = []
        self.signatures: list[Entry] = []
        self.metadata: list[tuple[str, int]] = []
        self._buffers: list[Any] = [b""]
        self._buffer_index: dict[bytes, int] = {}
        self._codes: dict[tuple[str, int, str], int] = {}
        self._size = _FRAME

    def subgraph(self, name: str) -> SubGraph:
        """Add a subgraph; the first is the main one."""
        self.subgraphs.append(SubGraph(name))
        return self.subgraphs[-1]

    def buffer(self, data: Any) -> int:
        """The index of the buffer with these bytes (`TensorData`, an array or bytes); `Diagnostic` E0510 when it becomes too large.

        What is too large by itself is refused before its bytes are read.
        """
        size = data.nbytes if isinstance(data, TensorData | np.ndarray) else len(data)
        least = self._least(data, size)
        self._judge(least)
        raw = data.raw() if isinstance(data, TensorData) else np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else data
        if size:
            raw = memoryview(raw).cast("B") if not isinstance(raw, bytes) else raw
        else:
            raw = b""
        digest = hashlib.blake2b(raw, digest_size=20).digest()
        index = self._buffer_index.get(digest)
        if index is None:
            self._judge(self._size + least)
            index = self._buffer_index[digest] = len(self._buffers)
            self._buffers.append(raw)
            self._size += least + _ALIGNMENT
        return index

    def content(self, buffer: int) -> Any:
        """The bytes of a buffer."""
        return self._buffers[buffer]

    @contextmanager
    def settled(self) -> Iterator[None]:
        """While constants are stored in fewer bits nothing is refused; then unused buffers go and sizes count as they are (E0510)."""
        self._judging = False
        yield
        self._judging, self._shrink = True, 1
        self._drop_unused()
        self._size = _FRAME + sum(len(data) + _ALIGNMENT for data in self._buffers[1:])
        self._judge(self._size)

    def _drop_unused(self) -> None:
        """Forget the buffers that no tensor and no metadata uses."""
        used = sorted({0, *(t.buffer for g in self.subgraphs for t in g.tensors), *(buffer for _, buffer in self.metadata)})
        places = {old: new for new, old in enumerate(used)}
        self._buffers = [self._buffers[i] for i in used]
        self._buffer_index = {digest: places[i] for digest, i in self._buffer_index.items() if i in places}
        self.metadata = [(name, places[buffer]) for name, buffer in self.metadata]
        for graph in self.subgraphs:
            graph.tensors[:] = [replace(t, buffer=places[t.buffer]) for t in graph.tensors]

    def _least(self, data: Any, size: int) -> int:
        """The fewest bytes that data can take in the file."""
        floats = isinstance(data, TensorData) and data.dtype is DType.FLOAT or isinstance(data, np.ndarray) and data.dtype == np.float32
        return size // self._shrink if floats and size >= 4 * FEWEST else size

    def admit(self, data: TensorData) -> None:
        """Raise `Diagnostic` E0510 when data alone is too large for a file; it is not read."""
        self._judge(self._least(data, data.nbytes))

    def _judge(self, size: int) -> None:
        if self._judging and size > SIZE_LIMIT:
            raise Diagnostic(E_SIZE, f"the model needs more than {size / 1e9:.2f} GB", hint="store the weights as float16, int8 or int4")

    def operator_code(self, name: str, version: int, custom: str = "") -> int:
        """The index of an operator code."""
        return self._codes.setdefault((name, version, custom), len(self._codes))

    def signature(self, key: str, subgraph: int, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> None:
        """Publish a subgraph under a key."""
        self.signatures.append(Entry(key, subgraph, tuple(inputs), tuple(outputs)))

    # -- serialisation ----------------------------------------------------------------------------------------------------
    def bytes(self) -> bytes:
        """The flatbuffer; `Diagnostic` E0510 when it would be too large."""
        return bytes(self._packed())

    def write(self, path: Path) -> None:
        """Write the flatbuffer to a file."""
        with open(path, "wb") as file:
            file.write(self._packed())

    def _packed(self) -> memoryview:
        import flatbuffers

        items = sum(len(g.tensors) + len(g.operators) for g in self.subgraphs) + len(self._buffers)
        self._judge(self._size + items * _TENSOR_BYTES)
        builder = flatbuffers.Builder(self._size + items * _TENSOR_BYTES)
        builder.Finish(self._model().Pack(builder), file_identifier=FILE_IDENTIFIER)
        return memoryview(builder.Bytes)[builder.Head() :]

    def _model(self) -> Any:
        s = schema()
        model = s.ModelT()
        model.version = SCHEMA_VERSION
        model.description = self.description
        model.operatorCodes = [self._code(*key) for key in self._codes]
        model.subgraphs = [self._subgraph(graph) for graph in self.subgraphs]
        model.buffers = [_aligned_buffer(data) for data in self._buffers]
        model.signatureDefs = [self._entry(entry) for entry in self.signatures]
        if self.metadata:
            model.metadata = []
            for name, buffer in self.metadata:
                item = s.MetadataT()
                item.name, item.buffer = name, buffer
                model.metadata.append(item)
        return model

    def _code(self, name: str, version: int, custom: str) -> Any:
        item = schema().OperatorCodeT()
        item.builtinCode = builtin(name)
        item.deprecatedBuiltinCode = deprecated_code(item.builtinCode)
        item.version = version
        item.customCode = custom or None
        return item

    def _subgraph(self, graph: SubGraph) -> Any:
        item = schema().SubGraphT()
        item.name = graph.name
        item.tensors = [_tensor(tensor) for tensor in graph.tensors]
        item.operators = [_operator(operator) for operator in graph.operators]
        item.inputs, item.outputs = _ints(graph.inputs), _ints(graph.outputs)
        return item

    def _entry(self, entry: Entry) -> Any:
        s = schema()
        item = s.SignatureDefT()
        item.signatureKey, item.subgraphIndex = entry.key, entry.subgraph

        def mapped(pairs: Sequence[tuple[str, int]]) -> list[Any]:
            maps = []
            for name, tensor in pairs:
                pair = s.TensorMapT()
                pair.name, pair.tensorIndex = name, tensor
                maps.append(pair)
            return maps

        item.inputs, item.outputs = mapped(entry.inputs), mapped(entry.outputs)
        return item


def _ints(values: Sequence[int]) -> Any:
    return np.asarray(values, np.int32)


def _tensor(tensor: Tensor) -> Any:
    s = schema()
    item = s.TensorT()
    item.name, item.type, item.buffer = tensor.name, tensor.type_code, tensor.buffer
    item.shape = _ints([1 if size is None else size for size in tensor.shape])
    item.hasRank = True
    item.isVariable = tensor.is_variable
    if None in tensor.shape:
        item.shapeSignature = _ints([-1 if size is None else size for size in tensor.shape])
    if tensor.quantization is not None:
        parameters = s.QuantizationParametersT()
        if tensor.quantization.block:
            blocks = s.BlockwiseQuantizationT()
            blocks.scales, blocks.zeroPoints, blocks.blockSize = tensor.quantization.scales, -1, tensor.quantization.block
            parameters.detailsType, parameters.details = s.QuantizationDetails.BlockwiseQuantization, blocks
            item.quantization = parameters
            return item
        parameters.scale = np.asarray(tensor.quantization.scale, np.float32)
        parameters.zeroPoint = np.asarray(tensor.quantization.zero_point, np.int64)
        parameters.quantizedDimension = tensor.quantization.axis
        item.quantization = parameters
    return item


def _operator(operator: Operator) -> Any:
    item = schema().OperatorT()
    item.opcodeIndex = operator.code
    item.inputs, item.outputs = _ints(operator.inputs), _ints(operator.outputs)
    if operator.custom_options:
        item.customOptions = np.frombuffer(operator.custom_options, np.uint8)
    found = options_class(operator.name)
    if found is None:
        if operator.options:
            raise TypeError(f"{operator.name} has no options")
        return item
    cls, number, union = found
    table = cls()
    for name, value in operator.options.items():
        if not hasattr(table, name):
            raise TypeError(f"{operator.name} has no option '{name}'")
        setattr(table, name, value)
    if union == 1:
        item.builtinOptions, item.builtinOptionsType = table, number
    else:
        item.builtinOptions2, item.builtinOptions2Type = table, number
    return item


def _aligned_buffer(data: Any) -> Any:
    """A buffer that is copied into the flatbuffer once, aligned as the schema demands."""
    s = schema()

    class AlignedBuffer(s.BufferT):
        def Pack(self, builder: Any) -> int:
            vector = None
            if len(data):
                builder.StartVector(1, len(data), _ALIGNMENT)
                builder.head -= len(data)
                builder.Bytes[builder.head : builder.head + len(data)] = data
                vector = builder.EndVector()
            s.BufferStart(builder)
            if vector is not None:
                s.BufferAddData(builder, vector)
            return s.BufferEnd(builder)

    return AlignedBuffer()
