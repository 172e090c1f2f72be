"""TensorProto → `TensorData`: checked, lazy, contained in the model's folder."""

from __future__ import annotations

import math
import mmap
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from ..data import ArrayData, BufferData, TensorData
from ..diagnostics import Diagnostic
from ..dtypes import DType
from .codes import E_EXTERNAL, E_NOT_FOUND, E_TENSOR
from .wire import KEY, Extent

MAX_ELEMENTS = 1 << 40
MAX_RANK = 64  # numpy's own limit


def map_file(path: Path) -> Any:
    """A read-only mapping of a file (bytes when it is empty, which cannot be mapped)."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise Diagnostic(E_NOT_FOUND, f"'{path}' is not a regular file", f"file '{path}'", "name a model file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Diagnostic(E_NOT_FOUND, f"cannot open '{path}': {reason}", f"file '{path}'", "check the path and its permissions") from error


class TensorReader:
    """Decodes the tensors of one model file.

    Args:
        buffer: the bytes of the model file.
        extents: where its large tensors lie.
        folder: the folder that external data must stay inside, None when the model did not come from a file.
    """

    def __init__(self, buffer: Any, extents: list[Extent], folder: Path | None) -> None:
        self.buffer, self.extents, self.folder = buffer, extents, folder
        self.files: dict[str, Any] = {}

    def read(self, proto: Any, where: str) -> TensorData:
        """The tensor's data; nothing is copied when it is raw or external."""
        try:
            dtype = DType.from_code(proto.data_type)
        except KeyError:
            raise Diagnostic(E_TENSOR, f"element type code {proto.data_type} is unknown", where) from None
        shape = tuple(proto.dims)
        count = math.prod(shape)
        if any(not 0 <= d <= MAX_ELEMENTS for d in shape) or count > MAX_ELEMENTS or len(shape) > MAX_RANK:
            raise Diagnostic(E_TENSOR, f"the dimensions {list(shape)} are impossible", where)
        mapped = [e for e in proto.external_data if e.key == KEY]
        if mapped:
            return self._mapped(mapped, dtype, shape, where)
        if proto.data_location == 1:  # EXTERNAL
            return self._external(proto, dtype, shape, where)
        if proto.raw_data:
            return self._buffer(proto.raw_data, 0, len(proto.raw_data), dtype, shape, where)
        return self._typed_fields(proto, dtype, shape, count, where)

    def _buffer(self, buffer: Any, offset: int, length: int, dtype: DType, shape: tuple[int, ...], where: str) -> TensorData:
        expected = dtype.nbytes(math.prod(shape))
        if dtype is DType.STRING:
            raise Diagnostic(E_TENSOR, "a string tensor may not hold raw data", where)
        if length != expected:
            raise Diagnostic(
                E_TENSOR,
                f"{dtype}{list(shape)} needs {expected} bytes of data, {length} are stored",
                where,
                "export the model again",
            )
        return BufferData(dtype, shape, buffer, offset, length)

    def _mapped(self, entries: list[Any], dtype: DType, shape: tuple[int, ...], where: str) -> TensorData:
        try:
            found = [self.extents[abs(int(e.value))] for e in entries]
        except (ValueError, IndexError):
            raise Diagnostic(E_EXTERNAL, "the tensor refers to data that does not exist", where) from None
        if len(found) == 1:
            return self._buffer(self.buffer, found[0].offset, found[0].length, dtype, shape, where)
        joined = b"".join(self.buffer[e.offset : e.offset + e.length] for e in found)
        return self._buffer(joined, 0, len(joined), dtype, shape, where)

    def _external(self, proto: Any, dtype: DType, shape: tuple[int, ...], where: str) -> TensorData:
        entries = {e.key: e.value for e in proto.external_data}
        location = entries.get("location", "")
        buffer = self._open(location, where)
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries.get("length", str(dtype.nbytes(math.prod(shape)))))
        except ValueError:
            raise Diagnostic(E_EXTERNAL, f"offset or length of '{location}' is not a number", where) from None
        if offset < 0 or length < 0 or offset + length > len(buffer):
            raise Diagnostic(
                E_EXTERNAL,
                f"bytes {offset} to {offset + length} lie outside '{location}', which has {len(buffer)}",
                where,
                "copy the data file again, whole, beside the model",
            )
        return self._buffer(buffer, offset, length, dtype, shape, where)

    def _open(self, location: str, where: str) -> Any:
        if location in self.files:
            return self.files[location]
        if self.folder is None:
            raise Diagnostic(
                E_EXTERNAL,
                "external data needs a model that is read from a file",
                where,
                "pass a path, not bytes",
            )
        if not isinstance(location, str) or not location or "\0" in location or os.path.isabs(location):
            raise Diagnostic(E_EXTERNAL, f"the external location {location!r} is not a relative path", where)
        base = os.path.realpath(self.folder)
        target = os.path.realpath(os.path.join(base, location))
        if os.path.commonpath([base, target]) != base or target == base:
            raise Diagnostic(E_EXTERNAL, f"the external location {location!r} leaves the model's folder", where)
        if not os.path.isfile(target):
            raise Diagnostic(
                E_EXTERNAL,
                f"the data file '{location}' is missing",
                where,
                f"copy '{location}' into the folder of the model",
            )
        self.files[location] = map_file(Path(target))
        return self.files[location]

    def _typed_fields(self, proto: Any, dtype: DType, shape: tuple[int, ...], count: int, where: str) -> TensorData:
        if dtype is DType.STRING:
            if len(proto.string_data) != count:
                raise Diagnostic(E_TENSOR, f"{count} strings are declared, {len(proto.string_data)} stored", where)
            cells = np.empty(count, dtype=object)
            cells[:] = [s.decode("utf-8", "surrogateescape") for s in proto.string_data]
            return ArrayData(cells.reshape(shape), dtype)
        stored = max(len(getattr(proto, f)) for f in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"))
        per_element = 2 if dtype.is_complex else 1
        packed_bytes = dtype.nbytes(count)
        if stored not in (count * per_element, packed_bytes if dtype.bits < 8 else -1):
            raise Diagnostic(E_TENSOR, f"{dtype}{list(shape)} needs {count} elements, {stored} are stored", where)
        if not count:
            return ArrayData(np.zeros(shape, dtype.numpy), dtype)
        from onnx import numpy_helper

        try:
            return ArrayData(numpy_helper.to_array(proto), dtype)
        except (ValueError, TypeError, KeyError) as error:
            raise Diagnostic(E_TENSOR, f"the data does not decode: {error}", where) from error


def to_proto(data: TensorData, name: str) -> Any:
    """A TensorProto with the data inside (raw, or string_data)."""
    from onnx import TensorProto

    proto = TensorProto(name=name, data_type=data.dtype.code, dims=data.shape)
    if data.dtype is DType.STRING:
        proto.string_data.extend(str(s).encode("utf-8", "surrogateescape") for s in data.numpy().reshape(-1))
    else:
        proto.raw_data = bytes(data.raw())
    return proto
