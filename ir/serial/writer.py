"""`Model` → ONNX file: streamed, atomic, deterministic."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ..custom import domain_version
from ..data import BufferData, TensorData
from ..diagnostics import Diagnostic
from ..dtypes import DType
from ..model import Model
from .atomic import writing
from .codes import E_TOO_LARGE
from .graph_writer import GraphWriter, choose_opset
from .reader import MODEL_PROPERTIES
from .wire import length_delimited, varint

PROTOBUF_LIMIT = (1 << 31) - 1
EXTERNAL_FROM = 1024  # smaller tensors stay inside the model file
ALIGNMENT = 4096
_CHUNK = 1 << 24
_RELEASE_FROM = 1 << 18  # bytes from which on a mapped source is released after copying
_GRAPH_FIELD, _INITIALIZER_FIELD, _RAW_FIELD = 7, 5, 9


def write_model(model: Model, path: str | Path, *, opset: int | None = None, external_data: bool | None = None) -> None:
    """Write a model as ONNX (see `Model.save`).

    Raises:
        Diagnostic: the graph cannot be said at the opset, the file cannot be written, or it would pass 2 GB inline.
    """
    path = Path(path)
    plan = _Plan(model, opset)
    if external_data is None:
        external_data = plan.inline_size() > PROTOBUF_LIMIT
    if not external_data:
        with writing(path) as (file,):
            plan.write_inline(file)
        return
    data_path = path.with_name(path.name + ".data")
    with writing(data_path, path) as (data_file, file):
        plan.write_external(file, data_file, data_path.name)


def model_bytes(model: Model, *, opset: int | None = None) -> bytes:
    """The model as one serialised ModelProto."""
    buffer = io.BytesIO()
    _Plan(model, opset).write_inline(buffer)
    return buffer.getvalue()


class _Plan:
    """Everything about the file except the weights, built once."""

    def __init__(self, model: Model, opset: int | None) -> None:
        from onnx import ModelProto, helper

        self.opset = choose_opset(model, opset)
        writer = GraphWriter(model, self.opset)
        self.graph, self.constants = writer.write()
        proto = ModelProto()
        domains = {"": self.opset} | {d: model.opsets.get(d) or domain_version(d) for d in sorted(writer.domains)}
        for domain, version in domains.items():
            proto.opset_import.add(domain=domain, version=version)
        proto.ir_version = max(model.ir_version, helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True), 8)
        for key in MODEL_PROPERTIES:
            if key in model.properties:
                setattr(proto, key, model.properties[key])
        for key in sorted(model.metadata):
            proto.metadata_props.add(key=key, value=model.metadata[key])
        self.head = proto.SerializeToString()

    def inline_size(self) -> int:
        """Bytes of the file with all weights inside (a close upper bound)."""
        return len(self.head) + len(self.graph) + sum(data.nbytes + 64 + len(name) for name, data in self.constants)

    def write_inline(self, file: BinaryIO) -> None:
        """Stream the model with its weights."""
        headers = [_tensor_header(name, data) for name, data in self.constants]
        bodies = [0 if data.dtype is DType.STRING else data.nbytes for _, data in self.constants]
        total = len(self.graph)
        framed: list[tuple[bytes, TensorData | None]] = []
        for (_, data), header, body in zip(self.constants, headers, bodies, strict=True):
            start = header if data.dtype is DType.STRING else header + varint(_RAW_FIELD << 3 | 2) + varint(body)
            length = len(start) + body
            frame = varint(_INITIALIZER_FIELD << 3 | 2) + varint(length) + start
            total += len(frame) + body
            framed.append((frame, None if data.dtype is DType.STRING else data))
        if len(self.head) + total > PROTOBUF_LIMIT:
            raise Diagnostic(
                E_TOO_LARGE,
                f"{total} bytes do not fit one protobuf file (2 GB)",
                hint="save with external_data=True (--external-data)",
            )
        file.write(self.head + varint(_GRAPH_FIELD << 3 | 2) + varint(total) + self.graph)
        for frame, data in framed:
            file.write(frame)
            if data is not None:
                write_raw(data, file.write)

    def write_external(self, file: BinaryIO, data_file: BinaryIO, location: str) -> None:
        """Stream the model with tensors of `EXTERNAL_FROM` bytes and more in a second file, page-aligned."""
        parts: list[bytes] = []
        position = 0
        for name, data in self.constants:
            if data.dtype is DType.STRING or data.nbytes < EXTERNAL_FROM:
                header = _tensor_header(name, data)
                if data.dtype is not DType.STRING:
                    header += length_delimited(_RAW_FIELD, bytes(data.raw()))
            else:
                padding = -position % ALIGNMENT
                data_file.write(bytes(padding))
                position += padding
                header = _tensor_header(name, data, {"location": location, "offset": str(position), "length": str(data.nbytes)})
                write_raw(data, data_file.write)
                position += data.nbytes
            parts.append(length_delimited(_INITIALIZER_FIELD, header))
        total = len(self.graph) + sum(map(len, parts))
        file.write(self.head + varint(_GRAPH_FIELD << 3 | 2) + varint(total) + self.graph)
        file.writelines(parts)


def _tensor_header(name: str, data: TensorData, external: dict[str, str] | None = None) -> bytes:
    from onnx import TensorProto

    proto: Any = TensorProto(name=name, data_type=data.dtype.code, dims=data.shape)
    if data.dtype is DType.STRING:
        proto.string_data.extend(str(s).encode("utf-8", "surrogateescape") for s in data.numpy().reshape(-1))
    for key, value in (external or {}).items():
        proto.external_data.add(key=key, value=value)
    if external:
        proto.data_location = TensorProto.EXTERNAL
    return proto.SerializeToString()


def write_raw(data: TensorData, write: Callable[[Any], Any]) -> None:
    """Write a tensor's bytes in chunks; pages of a mapped source are released as soon as they are copied."""
    raw = data.raw()
    if len(raw) < _RELEASE_FROM:
        write(raw)
        return
    view = memoryview(raw)
    mapped = data.buffer if isinstance(data, BufferData) and hasattr(data.buffer, "madvise") else None
    for start in range(0, len(view), _CHUNK):
        write(view[start : start + _CHUNK])
        if mapped is not None:
            import mmap

            assert isinstance(data, BufferData)
            first = (data.offset + start) // mmap.PAGESIZE * mmap.PAGESIZE
            length = min(data.offset + start + _CHUNK, data.offset + data.length, len(mapped)) - first
            mapped.madvise(mmap.MADV_DONTNEED, first, length)
