"""TypeProto ↔ types of the IR."""

from __future__ import annotations

from typing import Any

from ..diagnostics import Diagnostic
from ..dims import Dim, symbol
from ..dtypes import DType
from ..types import UNKNOWN, OptionalType, SequenceType, TensorType, Type, UnknownType
from .codes import E_TOO_LARGE, E_TYPE

_NAMELESS = ("", "?", "-1", "None")  # what exporters write for "any": two such dimensions need not be equal


def decode_type(proto: Any, name: str) -> Type:
    """The type a TypeProto declares. Unnamed dimensions become None for the caller to name."""
    kind = proto.WhichOneof("value")
    if kind is None:
        return UNKNOWN
    if kind == "tensor_type":
        return _tensor(proto.tensor_type, name)
    if kind == "sequence_type":
        return SequenceType(decode_type(proto.sequence_type.elem_type, name))
    if kind == "optional_type":
        return OptionalType(decode_type(proto.optional_type.elem_type, name))
    raise Diagnostic(E_TYPE, f"'{name}' is declared as {kind}, which is not supported", f"value '{name}'")


def _tensor(proto: Any, name: str) -> Type:
    if not proto.elem_type:
        return UNKNOWN
    try:
        dtype = DType.from_code(proto.elem_type)
    except KeyError:
        raise Diagnostic(E_TYPE, f"element type code {proto.elem_type} is unknown", f"value '{name}'") from None
    if not proto.HasField("shape"):
        return TensorType(dtype, None)
    dims: list[Dim | None] = []
    for dim in proto.shape.dim:
        which = dim.WhichOneof("value")
        if which == "dim_value":
            if dim.dim_value < 0:
                dims.append(None)
                continue
            dims.append(dim.dim_value)
        else:
            named = which == "dim_param" and dim.dim_param not in _NAMELESS
            if named and not isinstance(dim.dim_param, str):
                raise Diagnostic(E_TYPE, f"a dimension's name holds bytes that are not UTF-8 text: {dim.dim_param!r}", f"value '{name}'")
            dims.append(symbol(dim.dim_param) if named else None)
    return TensorType(dtype, tuple(dims))  # type: ignore[arg-type]


def encode_type(type_: Type) -> Any:
    """The TypeProto of a type (an empty one when it is unknown)."""
    from onnx import TypeProto

    proto = TypeProto()
    if isinstance(type_, TensorType):
        proto.tensor_type.elem_type = type_.dtype.code
        if type_.shape is not None:
            shape = proto.tensor_type.shape
            shape.SetInParent()
            for dim in type_.shape:
                entry = shape.dim.add()
                if isinstance(dim, int):
                    if dim >= 1 << 63:
                        hint = "the model computes an absurdly large tensor; check its shapes with `edgec inspect`"
                        raise Diagnostic(E_TOO_LARGE, "a tensor has a dimension of more than 63 bits, which no file can hold", hint=hint)
                    entry.dim_value = dim
                elif dim is not None:
                    entry.dim_param = dim.symbol_name or str(dim)
    elif isinstance(type_, SequenceType):
        proto.sequence_type.elem_type.CopyFrom(encode_type(type_.element))
    elif isinstance(type_, OptionalType):
        proto.optional_type.elem_type.CopyFrom(encode_type(type_.element))
    else:
        assert isinstance(type_, UnknownType)
    return proto
