"""A scanner of the protobuf wire format that takes large tensors out of an ONNX file without decoding or copying them.

`split` gives a small *skeleton* of the file, which protobuf then parses, and the places of the large ``raw_data`` fields in the original
buffer. The field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic
from .codes import E_NOT_ONNX

LARGE = 1024  # tensor data of at least this many bytes stays in the file
_MAX_DEPTH = 64
KEY = "edgec.extent"  # external_data entries of the skeleton: KEY → index of an extent
_RAW_FIELDS = (4, 9, 10)  # float_data, raw_data and double_data are all little-endian element bytes
_EXTERNAL_DATA = 13

_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}


@dataclass(frozen=True)
class Extent:
    """A byte range of the scanned buffer."""

    offset: int
    length: int


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's variable-length form."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def length_delimited(number: int, payload: bytes) -> bytes:
    """A length-delimited field: a string, bytes or an embedded message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def split(buffer: Any, name: str) -> tuple[bytes, list[Extent]]:
    """Separate large tensor data from a serialised ModelProto.

    Args:
        buffer: the file's bytes (bytes or a memory mapping).
        name: the file's name for diagnostics.

    Returns:
        The skeleton, whose large tensors have ``external_data`` entries ``KEY → index``, and the extents.
    """
    scanner = _Scanner(buffer, name)
    return scanner.message("Model", 0, len(buffer), 0), scanner.extents


class _Scanner:
    def __init__(self, buffer: Any, name: str) -> None:
        self.buffer, self.name = buffer, name
        self.view = memoryview(buffer)
        self.extents: list[Extent] = []

    def _fail(self, position: int, why: str) -> Diagnostic:
        return Diagnostic(
            E_NOT_ONNX,
            f"not a valid ONNX model: {why}",
            f"file '{self.name}', byte {position}",
            "check that the download or copy is complete",
        )

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        result = shift = 0
        buffer = self.buffer
        while True:
            if position >= end:
                raise self._fail(position, "the data ends inside a field")
            byte = buffer[position]
            position += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result, position
            shift += 7
            if shift > 63:
                raise self._fail(position, "a number is longer than ten bytes")

    def message(self, kind: str, start: int, end: int, depth: int) -> bytes:
        """The message in [start, end) without the large raw_data below it."""
        if depth > _MAX_DEPTH:
            raise self._fail(start, "subgraphs are nested too deeply")
        children = _CHILDREN[kind]
        view = self.view
        out: list[bytes | memoryview] = []
        position = copied = start
        while position < end:
            field = position
            tag, position = self._varint(position, end)
            wire = tag & 7
            if wire == 0:
                _, position = self._varint(position, end)
            elif wire == 1:
                position += 8
            elif wire == 5:
                position += 4
            elif wire == 2:
                length, position = self._varint(position, end)
                if length > end - position:
                    raise self._fail(field, f"a field of {length} bytes ends after its message")
                number = tag >> 3
                if length >= LARGE:
                    replacement: bytes | None = None
                    if kind == "Tensor" and number in _RAW_FIELDS:
                        entry = length_delimited(1, KEY.encode()) + length_delimited(2, str(len(self.extents)).encode())
                        self.extents.append(Extent(position, length))
                        replacement = length_delimited(_EXTERNAL_DATA, entry)
                    elif number in children:
                        inner = self.message(children[number], position, position + length, depth + 1)
                        if len(inner) != length:
                            replacement = varint(tag) + varint(len(inner)) + inner
                    if replacement is not None:
                        out.append(view[copied:field])
                        out.append(replacement)
                        copied = position + length
                position += length
            else:
                raise self._fail(field, f"wire type {wire} is not used by ONNX")
            if position > end:
                raise self._fail(field, "the data ends inside a field")
        out.append(view[copied:end])
        return b"".join(out)
