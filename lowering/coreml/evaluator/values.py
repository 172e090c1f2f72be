"""Types and constant values of the ML Program, read from the protobuf messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from .blobs import BlobFile, unpacked
from .errors import damaged

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Element:
    """An element type of the ML Program.

    Attributes:
        name: as the operators' parameters spell it.
        dtype: the same type in edgec.
        stored: the numpy type of its values here; narrow integers take a byte each.
        bits: the width in weight files.
        immediate: the field of an immediate tensor that holds its values.
    """

    name: str
    dtype: DType
    stored: np.dtype[Any]
    bits: int
    immediate: str

    @property
    def signed(self) -> bool:
        return self.stored.kind == "i"


def _element(name: str, dtype: DType, stored: Any, bits: int, immediate: str) -> Element:
    return Element(name, dtype, np.dtype(stored), bits, immediate)


# By the numbers of the protobuf enumeration DataType.
ELEMENTS: dict[int, Element] = {
    1: _element("bool", DType.BOOL, np.bool_, 8, "bools"),
    2: _element("string", DType.STRING, object, 0, "strings"),
    10: _element("fp16", DType.FLOAT16, np.float16, 16, "bytes"),
    11: _element("fp32", DType.FLOAT, np.float32, 32, "floats"),
    12: _element("fp64", DType.DOUBLE, np.float64, 64, "doubles"),
    21: _element("int8", DType.INT8, np.int8, 8, "bytes"),
    22: _element("int16", DType.INT16, np.int16, 16, "ints"),
    23: _element("int32", DType.INT32, np.int32, 32, "ints"),
    24: _element("int64", DType.INT64, np.int64, 64, "longInts"),
    25: _element("int4", DType.INT4, np.int8, 4, "bytes"),
    31: _element("uint8", DType.UINT8, np.uint8, 8, "bytes"),
    32: _element("uint16", DType.UINT16, np.uint16, 16, "ints"),
    33: _element("uint32", DType.UINT32, np.uint32, 32, "bytes"),
    34: _element("uint64", DType.UINT64, np.uint64, 64, "longInts"),
    35: _element("uint4", DType.UINT4, np.uint8, 4, "bytes"),
    36: _element("uint2", DType.UINT2, np.uint8, 2, "bytes"),
    37: _element("uint1", DType.UINT8, np.uint8, 1, "bytes"),
    38: _element("uint6", DType.UINT8, np.uint8, 6, "bytes"),
    39: _element("uint3", DType.UINT8, np.uint8, 3, "bytes"),
}
BY_NAME = {element.name: element for element in ELEMENTS.values()}


@dataclass(frozen=True)
class Declared:
    """What the program declares of a value.

    Attributes:
        kind: ``tensor``, ``list``, ``dictionary`` or ``state``.
        element: the element type of a tensor, of a list's tensors or of a state; None for dictionaries.
        shape: sizes, None where one is not known before the run; of a list's elements when it is a list. None when even the number of
            dimensions is not known.
        length: the number of a list's elements when it is known.
    """

    kind: str
    element: Element | None
    shape: tuple[int | None, ...] | None
    length: int | None = None


def declared(message: Any) -> Declared:
    """Read a ValueType message; `Diagnostic` E0540 for a type that does not exist in edgec."""
    kind = message.WhichOneof("type")
    if kind == "tensorType":
        tensor = message.tensorType
        if tensor.dataType not in ELEMENTS:
            raise damaged(f"the element type number {tensor.dataType} is not known", hint="")
        if tensor.rank != len(tensor.dimensions):
            raise damaged(f"a tensor of rank {tensor.rank} has {len(tensor.dimensions)} dimensions")
        if any(d.WhichOneof("dimension") == "unknown" and d.unknown.variadic for d in tensor.dimensions):
            return Declared("tensor", ELEMENTS[tensor.dataType], None)
        shape = tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)
        return Declared("tensor", ELEMENTS[tensor.dataType], shape)
    if kind == "stateType":
        inner = declared(message.stateType.wrappedType)
        return Declared("state", inner.element, inner.shape)
    if kind == "listType":
        inner = declared(message.listType.type)
        size = message.listType.length
        return Declared("list", inner.element, inner.shape, size.constant.size if size.WhichOneof("dimension") == "constant" else None)
    if kind == "dictionaryType":
        return Declared("dictionary", None, ())
    raise damaged(f"the program holds a {kind}", hint="")


class Constants:
    """Reads constant values; weight files stay mapped."""

    def __init__(self, weights: Path) -> None:
        """Args:
        weights: the package's folder of weight files; it need not exist when no weight is stored in a file.
        """
        self._weights = weights
        self._files: dict[str, BlobFile] = {}

    def read(self, message: Any) -> Any:
        """The value of a Value message: an array, a text, a list or a dictionary. `Diagnostic` E0540 when it is damaged."""
        if message.WhichOneof("value") == "blobFileValue":
            return self._stored(message)
        immediate = message.immediateValue
        kind = immediate.WhichOneof("value")
        if kind == "tensor":
            return self._immediate(immediate.tensor, declared(message.type))
        if kind == "list":
            return [self.read(value) for value in immediate.list.values]
        if kind == "tuple":
            return [self.read(value) for value in immediate.tuple.values]
        if kind == "dictionary":
            return {self._key(self.read(pair.key)): self.read(pair.value) for pair in immediate.dictionary.values}
        raise damaged(f"a constant holds a {kind}")

    @staticmethod
    def _key(value: Any) -> Any:
        return value.item() if isinstance(value, np.ndarray) else value

    def _stored(self, message: Any) -> Array:
        blob, type_ = message.blobFileValue, declared(message.type)
        element, shape = _known(type_)
        name = blob.fileName.rsplit("/", 1)[-1]
        if name not in self._files:
            self._files[name] = BlobFile(self._weights / name)
        return self._files[name].read(blob.offset, element.name, element.stored, shape, element.bits, element.signed)

    @staticmethod
    def _immediate(tensor: Any, type_: Declared) -> Any:
        element, shape = _known(type_)
        field = tensor.WhichOneof("value")
        count = math.prod(shape)
        if field is None:
            values: Any = np.zeros(0, element.stored)
        elif field == "bytes":
            raw = np.frombuffer(tensor.bytes.values, np.uint8)
            values = unpacked(raw, element.bits, count, element.signed) if element.bits < 8 else raw.view(element.stored)
        elif field == "strings":
            texts = list(tensor.strings.values)
            if shape == () and len(texts) == 1:
                return texts[0]
            values = np.array(texts, object)
        else:
            values = np.array(list(getattr(tensor, field).values), element.stored)
        if values.size != count:
            raise damaged(f"a constant has {values.size} elements, its type says {list(shape)}")
        return values.reshape(shape)


def _known(type_: Declared) -> tuple[Element, tuple[int, ...]]:
    if type_.kind != "tensor" or type_.element is None or type_.shape is None or None in type_.shape:
        raise damaged("a constant's type is not a tensor of known sizes")
    return type_.element, tuple(n for n in type_.shape if n is not None)
