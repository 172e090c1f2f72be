"""Which kind of value an attribute must have, from the ONNX definitions or from the operator class."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from ..diagnostics import E_ATTRIBUTE, Diagnostic
from ..op import OPS
from .forms import schema_versions

GRAPH, GRAPHS = 5, 10
_NAMES = {
    0: "nothing",
    1: "a float",
    2: "an integer",
    3: "a string",
    4: "a tensor",
    GRAPH: "a graph",
    6: "a list of floats",
    7: "a list of integers",
    8: "a list of strings",
    9: "a list of tensors",
    GRAPHS: "a list of graphs",
    11: "a sparse tensor",
    12: "a list of sparse tensors",
    13: "a type",
    14: "a list of types",
}
_ANNOTATIONS = {
    "int": 2,
    "DType": 2,
    "float": 1,
    "str": 3,
    "TensorData": 4,
    "tuple[int, ...]": 7,
    "Ints": 7,
    "tuple[float, ...]": 6,
    "Floats": 6,
    "tuple[str, ...]": 8,
    "Strings": 8,
    "Type": 13,
}


def _code(kind: Any) -> int:
    return kind.value


@cache
def attribute_kinds(domain: str, op_type: str, version: int) -> dict[str, int]:
    """Attribute names with the AttributeProto types that the definition at an opset wants; empty for an unknown operator.

    Attributes that only a newer definition has are those of the operator's class.
    """
    cls = OPS.get((domain, op_type))
    kinds: dict[str, int] = {}
    if cls is not None:
        named = {f.name: _ANNOTATIONS.get(str(f.type).removesuffix(" | None"), 0) for f in fields(cls)}  # type: ignore[arg-type]
        kinds = {name: kind for name, kind in named.items() if kind} | dict.fromkeys(cls.region_names, GRAPH)
    schema = _schema(domain, op_type, version)
    return kinds if schema is None else kinds | {name: _code(a.type) for name, a in schema.attributes.items()}


@cache
def demands(domain: str, op_type: str, version: int) -> tuple[tuple[str, ...], int]:
    """The attributes that an operator demands by its ONNX definition, and its least number of operands."""
    schema = _schema(domain, op_type, version)
    if schema is None:
        return (), 0
    operands = 0 if schema.deprecated else schema.min_input  # deprecated operators come in the forms of other opsets too
    return tuple(name for name, a in schema.attributes.items() if a.required), operands


def _schema(domain: str, op_type: str, version: int) -> Any:
    """The definition at an opset, for an operator that is used before it entered ONNX its first one; None when there is none."""
    from onnx import defs

    if not defs.has(op_type, version, domain):
        versions = () if domain else schema_versions(op_type)
        if not versions:
            return None
        version = versions[0]
    return defs.get_schema(op_type, version, domain)


def attribute_kind(proto: Any, kinds: dict[str, int], where: str) -> int:
    """The kind of an attribute, checked; the oldest files do not store it.

    Raises:
        Diagnostic: E0204 when the kind is not the one that the operator's definition wants.
    """
    wanted = kinds.get(proto.name)
    if proto.ref_attr_name:
        raise Diagnostic(E_ATTRIBUTE, f"attribute '{proto.name}' refers to an attribute of a function, but stands in no function", where)
    if wanted is None or proto.type == wanted:
        return proto.type
    if proto.type == 0:
        return wanted
    found = _NAMES.get(proto.type, f"of the unknown kind {proto.type}")
    raise Diagnostic(E_ATTRIBUTE, f"attribute '{proto.name}' must be {_NAMES[wanted]}, it is {found}", where, "export the model again")
