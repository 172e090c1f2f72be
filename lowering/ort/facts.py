"""What the installed ONNX Runtime can execute, asked of the library itself: its kernel registry and its
operator schemas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.serial.forms import node_form
from ...ir.types import OptionalType, SequenceType, TensorType, Type
from ..support import Obstacle

_OPEN_END = 2147483647
_PROVIDER = "CPUExecutionProvider"
_TYPE_NAMES = {
    DType.FLOAT: "float", DType.DOUBLE: "double", DType.FLOAT16: "float16", DType.BFLOAT16: "bfloat16", DType.BOOL: "bool",
    DType.STRING: "string", DType.INT8: "int8", DType.INT16: "int16", DType.INT32: "int32", DType.INT64: "int64",
    DType.UINT8: "uint8", DType.UINT16: "uint16", DType.UINT32: "uint32", DType.UINT64: "uint64", DType.INT4: "int4",
    DType.UINT4: "uint4", DType.INT2: "int2", DType.UINT2: "uint2", DType.FLOAT8E4M3FN: "float8e4m3fn",
    DType.FLOAT8E4M3FNUZ: "float8e4m3fnuz", DType.FLOAT8E5M2: "float8e5m2", DType.FLOAT8E5M2FNUZ: "float8e5m2fnuz",
    DType.FLOAT8E8M0: "float8e8m0", DType.FLOAT4E2M1: "float4e2m1", DType.COMPLEX64: "complex64", DType.COMPLEX128: "complex128",
    DType.FLOAT6E2M3: "float6e2m3", DType.FLOAT6E3M2: "float6e3m2",
}  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """One registered kernel: the operator versions it covers and the types each type variable (or operand)
    may have.
    """

    since: int
    until: int
    types: tuple[tuple[str, frozenset[str]], ...]

    def covers(self, version: int) -> bool:
        """Whether the kernel serves this operator version; a kernel without an end serves only the version it
        was written for.
        """
        return self.since == version or (self.until != _OPEN_END and self.since <= version <= self.until)


@dataclass(frozen=True)
class Schema:
    """One operator schema of the runtime: version, and ``(operand name, type variable)`` per operand and
    result.
    """

    since: int
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    deprecated: bool


@lru_cache(maxsize=1)
def kernels() -> dict[tuple[str, str], tuple[Kernel, ...]]:
    """The CPU kernels by domain (empty for ai.onnx) and operator name."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[attr-defined]

    found: dict[tuple[str, str], list[Kernel]] = {}
    for entry in state.get_all_opkernel_def():
        if entry.provider == _PROVIDER:
            since, until = entry.version_range
            types = tuple((name, frozenset(names)) for name, names in sorted(entry.type_constraints.items()))
            found.setdefault((_domain(entry.domain), entry.op_name), []).append(Kernel(since, until, types))
    return {key: tuple(found[key]) for key in sorted(found)}


@lru_cache(maxsize=1)
def schemas() -> dict[tuple[str, str], tuple[Schema, ...]]:
    """The operator schemas that the runtime knows, newest first."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[attr-defined]

    found: dict[tuple[str, str], list[Schema]] = {}
    for entry in state.get_all_operator_schema():
        formal = tuple((p.name, p.typeStr) for p in entry.inputs)
        results = tuple((p.name, p.typeStr) for p in entry.outputs)
        schema = Schema(entry.since_version, formal, results, entry.deprecated)
        found.setdefault((_domain(entry.domain), entry.name), []).append(schema)
    return {key: tuple(sorted(found[key], key=lambda s: -s.since)) for key in sorted(found)}


@lru_cache(maxsize=1)
def newest_opset() -> int:
    """The newest ai.onnx opset that the runtime knows."""
    return max(s.since for (domain, _), group in schemas().items() if not domain for s in group)


def schema_at(domain: str, name: str, opset: int) -> Schema | None:
    """The schema in force at an opset, None when there is none or it is deprecated."""
    for schema in schemas().get((domain, name), ()):
        if schema.since <= opset:
            return None if schema.deprecated else schema
    return None


@cache
def function_problem(domain: str, name: str, opset: int) -> str | None:
    """Why an operator without a kernel does not run as the function that ONNX defines it by; None when it
    does.

    The runtime inlines function bodies. A body that depends on the operand types cannot be looked into here
    and is trusted; loading the model is the last word.
    """
    import onnx.defs

    missing = f"ONNX defines no function body for {name}"
    if domain:
        return missing
    try:
        schema: Any = onnx.defs.get_schema(name, min(opset, onnx.defs.onnx_opset_version()), domain)
    except onnx.defs.SchemaError:
        return missing
    if schema.has_context_dependent_function:
        return None
    if not schema.has_function:
        return missing
    body = schema.function_body
    versions = {entry.domain: entry.version for entry in body.opset_import}
    for node in body.node:
        version = versions.get(node.domain, opset)
        inner = schema_at(_domain(node.domain), node.op_type, version)
        served = inner is not None and any(kernel.covers(inner.since) for kernel in kernels().get((_domain(node.domain), node.op_type), ()))
        if not served and node.op_type != "Constant":
            return f"its function body needs {node.op_type} of opset {version}, for which there is no CPU kernel"
    return None


def type_name(type_: Type) -> str | None:
    """The runtime's spelling of a type, None when it is not known."""
    if isinstance(type_, TensorType):
        return f"tensor({_TYPE_NAMES[type_.dtype]})"
    if isinstance(type_, SequenceType | OptionalType):
        inner = type_name(type_.element)
        word = "seq" if isinstance(type_, SequenceType) else "optional"
        return None if inner is None else f"{word}({inner})"
    return None


def kernel_problem(node: Node, opset: int) -> Obstacle | None:
    """Why no kernel runs this node at an opset of its domain; None when one does.

    Half-precision operands are accepted where a float kernel exists, because the runtime inserts the
    conversions itself.
    """
    domain = _domain(node.op.domain)
    form = node_form(node, opset)
    if isinstance(form, str):
        return Obstacle("attribute", form)
    name = form.op_type
    schema = schema_at(domain, name, opset)
    if schema is None:
        return Obstacle("operator", f"ONNX Runtime does not know {node.op.qualified_name} at opset {opset}")
    candidates = [k for k in kernels().get((domain, name), ()) if k.covers(schema.since)]
    if not candidates:
        return Obstacle("operator", f"ONNX Runtime has no CPU kernel for {node.op.qualified_name} version {schema.since}")
    reasons: list[Obstacle] = []
    for widen in (False, True):
        reasons = []
        for kernel in candidates:
            reason = _mismatch(node, form.inputs, schema, kernel, widen)
            if reason is None:
                return None
            reasons.append(reason)
    first = reasons[0]
    return first if len(reasons) == 1 else first._replace(reason=f"{first.reason} (nor does any of {len(reasons)} kernels)")


def runs_in_float(node: Node, opset: int) -> bool:
    """Whether the runtime converts half-precision operands to float32 and back because it has no kernel for
    them.
    """
    form = node_form(node, opset)
    if isinstance(form, str) or not any(type_name(v.type) == "tensor(float16)" for v in node.inputs if v is not None):
        return False
    domain = _domain(node.op.domain)
    schema = schema_at(domain, form.op_type, opset)
    if schema is None:
        return False
    candidates = [k for k in kernels().get((domain, form.op_type), ()) if k.covers(schema.since)]
    return bool(candidates) and all(_mismatch(node, form.inputs, schema, k, False) is not None for k in candidates)


def _mismatch(node: Node, inputs: Sequence[Value | None], schema: Schema, kernel: Kernel, widen: bool) -> Obstacle | None:
    allowed = dict(kernel.types)
    results = [v if v.uses or index == 0 else None for index, v in enumerate(node.outputs)]
    for values, formals in ((inputs, schema.inputs), (results, schema.outputs)):
        for index, value in enumerate(values):
            if value is None or not formals:
                continue
            formal, variable = formals[min(index, len(formals) - 1)]
            types = allowed.get(variable) or allowed.get(formal)
            spelled = type_name(value.type)
            if types is None or spelled is None or spelled in types:
                continue
            if widen and spelled == "tensor(float16)" and "tensor(float)" in types:
                continue
            return Obstacle(_kind_of_type(spelled), f"its CPU kernel takes no {spelled} for '{formal}'")
    return None


def _kind_of_type(spelled: str) -> str:
    return "string" if spelled == "tensor(string)" else "dtype" if spelled.startswith("tensor(") else "sequence"


def operand_dtypes(domain: str, name: str) -> frozenset[DType] | None:
    """The element types that some kernel of an operator takes for its first operand; None when no kernel restricts them, or when it
    is a sequence or an optional value.
    """
    by_name = {f"tensor({text})": dtype for dtype, text in _TYPE_NAMES.items()}
    found: set[DType] = set()
    for schema in schemas().get((_domain(domain), name), ()):
        for kernel in kernels().get((_domain(domain), name), ()):
            if kernel.covers(schema.since) and schema.inputs:
                formal, variable = schema.inputs[0]
                allowed = dict(kernel.types)
                names = allowed.get(variable) or allowed.get(formal)
                if not names or not names.intersection(by_name):
                    return None
                found.update(by_name[n] for n in names if n in by_name)
    return frozenset(found)


@cache
def newest_version(domain: str) -> int:
    """The newest version of a domain that the runtime knows."""
    return max((s.since for (known, _), group in schemas().items() if known == _domain(domain) for s in group), default=1)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
