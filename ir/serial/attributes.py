"""AttributeProto ↔ attribute values of operator classes."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from ..data import ArrayData, TensorData
from ..diagnostics import E_ATTRIBUTE, Diagnostic
from ..dtypes import DType
from ..op import Op
from ..types import OptionalType, SequenceType, TensorType
from .codes import E_TENSOR
from .proto_types import decode_type, encode_type
from .tensors import TensorReader, to_proto

DENSE_LIMIT = 1 << 28  # bytes that a sparse tensor may take when held densely
_DTYPE_FIELDS: dict[type[Op], frozenset[str]] = {}


def shortest_float(value: float) -> float:
    """The double whose shortest decimal form is that of the float32 stored in the file: 1e-05, not 9.99999974e-06."""
    return float(str(np.float32(value)))


def dtype_fields(cls: type[Op]) -> frozenset[str]:
    """The attributes of an operator class that hold an element type."""
    found = _DTYPE_FIELDS.get(cls)
    if found is None:
        found = _DTYPE_FIELDS[cls] = frozenset(f.name for f in fields(cls) if "DType" in str(f.type))  # type: ignore[arg-type]
    return found


def decode(proto: Any, kind: int, tensors: TensorReader, where: str) -> Any:
    """The Python value of an attribute of a kind: int, float, str, `TensorData` or a tuple of these; subgraphs are not decoded here."""
    if kind == 1:
        return shortest_float(proto.f)
    if kind == 2:
        return proto.i
    if kind == 3:
        return proto.s.decode("utf-8", "surrogateescape")
    if kind == 4:
        return tensors.read(proto.t, f"{where}, attribute '{proto.name}'")
    if kind == 6:
        return tuple(shortest_float(x) for x in proto.floats)
    if kind == 7:
        return tuple(proto.ints)
    if kind == 8:
        return tuple(s.decode("utf-8", "surrogateescape") for s in proto.strings)
    if kind == 9:
        return tuple(tensors.read(t, f"{where}, attribute '{proto.name}'") for t in proto.tensors)
    if kind == 11:
        return _densify(proto.sparse_tensor, tensors, f"{where}, attribute '{proto.name}'")
    if kind == 13:
        return decode_type(proto.tp, proto.name)
    raise Diagnostic(E_ATTRIBUTE, f"attribute '{proto.name}' has the unsupported kind {kind}", where)


def _densify(sparse: Any, tensors: TensorReader, where: str) -> TensorData:
    values = tensors.read(sparse.values, where)
    indices = tensors.read(sparse.indices, where).numpy()
    shape = tuple(sparse.dims)
    if any(d < 0 for d in shape) or values.dtype.nbytes(math.prod(shape)) > DENSE_LIMIT:
        raise Diagnostic(E_ATTRIBUTE, f"a sparse tensor of shape {list(shape)} is too large to hold densely", where)
    if values.dtype is DType.STRING or len(values.shape) != 1:
        raise Diagnostic(E_TENSOR, f"the values of a sparse tensor cannot be {values.dtype}{list(values.shape)}", where)
    dense, filled = np.zeros(shape, values.dtype.numpy), values.numpy()
    if indices.dtype != np.int64 or indices.shape not in ((len(filled),), (len(filled), len(shape))):
        raise Diagnostic(E_TENSOR, f"a sparse tensor of {len(filled)} elements has indices {indices.dtype}{list(indices.shape)}", where)
    limits = dense.size if indices.ndim == 1 else np.array(shape)
    if ((indices < 0) | (indices >= limits)).any():
        raise Diagnostic(E_TENSOR, f"a sparse tensor has an index outside its shape {list(shape)}", where)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    dense.reshape(-1)[flat] = filled
    return ArrayData(dense, values.dtype)


def densify_initializer(sparse: Any, tensors: TensorReader) -> TensorData:
    """A sparse initializer as dense data."""
    return _densify(sparse, tensors, f"initializer '{sparse.values.name}'")


def build_op(cls: type[Op], attributes: dict[str, Any], where: str) -> Op:
    """An operator instance from decoded attributes; names what is unknown, missing or of the wrong kind."""
    for name in dtype_fields(cls) & attributes.keys():
        code = attributes[name]
        if isinstance(code, int):
            try:
                attributes[name] = DType.from_code(code) if code else None
            except KeyError:
                raise Diagnostic(E_ATTRIBUTE, f"attribute '{name}' names the unknown element type {code}", where) from None
    try:
        return cls(**attributes)
    except TypeError as error:
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        unknown = [a for a in attributes if a not in known]
        message = f"attribute {', '.join(map(repr, unknown))} is not known" if unknown else f"an attribute is missing ({error})"
        raise Diagnostic(E_ATTRIBUTE, message, where, f"the attributes are: {', '.join(known) or 'none'}") from None


def encode(name: str, value: Any, kind: int = 0) -> Any:
    """The AttributeProto of a Python attribute value; ``kind`` is the type that the definition wants, 0 when it is not known."""
    from onnx import AttributeProto

    proto = AttributeProto(name=name)
    if isinstance(value, DType):
        value = value.code
    if kind == AttributeProto.FLOAT and isinstance(value, int):
        value = float(value)
    if isinstance(value, bool | int):
        proto.type, proto.i = AttributeProto.INT, int(value)
    elif isinstance(value, float):
        proto.type, proto.f = AttributeProto.FLOAT, value
    elif isinstance(value, str):
        proto.type, proto.s = AttributeProto.STRING, value.encode("utf-8", "surrogateescape")
    elif isinstance(value, TensorType | SequenceType | OptionalType):
        proto.type = AttributeProto.TYPE_PROTO
        proto.tp.CopyFrom(encode_type(value))
    elif isinstance(value, tuple):
        _encode_tuple(proto, value, kind)
    elif isinstance(value, TensorData):
        proto.type = AttributeProto.TENSOR
        proto.t.CopyFrom(to_proto(value, ""))
    else:
        raise Diagnostic(
            E_ATTRIBUTE,
            f"attribute '{name}' has a value of type {type(value).__name__}, which ONNX cannot hold",
        )
    return proto


def _encode_tuple(proto: Any, value: tuple[Any, ...], kind: int) -> None:
    from onnx import AttributeProto

    if not value:
        proto.type = kind or AttributeProto.INTS
    elif kind == AttributeProto.FLOATS or any(isinstance(x, float) for x in value):
        proto.type = AttributeProto.FLOATS
        proto.floats.extend(value)
    elif isinstance(value[0], str):
        proto.type = AttributeProto.STRINGS
        proto.strings.extend(s.encode("utf-8", "surrogateescape") for s in value)
    elif isinstance(value[0], TensorData):
        proto.type = AttributeProto.TENSORS
        proto.tensors.extend(to_proto(t, "") for t in value)
    else:
        proto.type = AttributeProto.INTS
        proto.ints.extend(value)
