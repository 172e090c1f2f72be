"""The operator base class, the operator registry, and `Opaque` for operators that have no class of their own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from .diagnostics import E_DUPLICATE, E_EVALUATE, E_OPERANDS, Diagnostic
from .types import UNKNOWN, Type

if TYPE_CHECKING:
    from .graph import Graph

OPS: dict[tuple[str, str], type[Op]] = {}
MICROSOFT = "com.microsoft"
EDGEC = "ai.edgec"


class Op:
    """An operator with its attributes. Subclasses are frozen dataclasses: the fields are the attributes under their ONNX names,
    the parameters of `infer` are the operands under their ONNX names (``None`` for an absent optional operand).

    The semantics are those of the operator's *newest* ONNX definition; the reader upgrades older forms, the writer emits the form of
    the opset it is asked for. A subclass registers itself under ``(domain, op_name)``.

    Class attributes:
        domain: the ONNX domain, empty for ai.onnx.
        op_name: the ONNX operator name (the class name unless stated).
        since: the oldest opset that can express this operator in some form (1 unless stated); the writer and `legalize` use it.
        outputs: the number of results when a node does not say otherwise.
        commutative: whether the first two operands may be exchanged.
        elementwise: whether each result element depends only on the operand elements at the same (broadcast) position.
        pure: whether equal operands give equal results (random generators are not pure).
        region_names: the ONNX attribute names of the operator's subgraphs, in order.
        shape_operands: positions of operands that only carry shapes, axes or similar parameters, never data.
    """

    domain: ClassVar[str] = ""
    op_name: ClassVar[str] = ""
    since: ClassVar[int] = 1
    outputs: ClassVar[int] = 1
    commutative: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    pure: ClassVar[bool] = True
    region_names: ClassVar[tuple[str, ...]] = ()
    shape_operands: ClassVar[tuple[int, ...]] = ()
    _arity: ClassVar[tuple[int, int | None]]

    def __init_subclass__(cls, *, abstract: bool = False, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if abstract:
            return
        cls.op_name = cls.__dict__.get("op_name", cls.__name__)
        cls._arity = _arity_of(cls)
        if (cls.domain, cls.op_name) != ("", ""):
            present = OPS.setdefault((cls.domain, cls.op_name), cls)
            if present is not cls and present.__module__ != cls.__module__:
                name = f"operator '{cls.domain or 'ai.onnx'}.{cls.op_name}'"
                hint = f"give {cls.__module__}.{cls.__qualname__} another `domain` or `op_name`"
                raise Diagnostic(E_DUPLICATE, f"it is registered twice: by {present.__module__} and by {cls.__module__}", name, hint)
            OPS[(cls.domain, cls.op_name)] = cls

    # -- the story of an operator ----------------------------------------------------------------------------------
    def infer(self, *operands: Any, **_: Any) -> Any:
        """The result type or types for operand types; raises `Diagnostic` when the operands do not fit.

        Operands are `TensorType` (or sequence/optional types) whose ``content`` holds what is known of their elements. Region operators
        also receive ``regions=``, their typed subgraphs.
        """
        raise NotImplementedError

    def evaluate(self, *operands: Any, **_: Any) -> Any:
        """The result array or arrays for operand arrays: constant folding and the test oracle.

        The default asks the reference implementation of the onnx package.
        """
        from .reference import evaluate_by_reference

        return evaluate_by_reference(self, operands)

    # -- attributes ------------------------------------------------------------------------------------------------
    def attributes(self) -> Iterator[tuple[str, Any]]:
        """Attribute names and values in declaration order, defaults included."""
        for name in attribute_names(type(self)):
            yield name, getattr(self, name)

    def changed_attributes(self) -> Iterator[tuple[str, Any]]:
        """The attributes that differ from their defaults; what the writer and the printer emit."""
        for name, default in _defaults(type(self)):
            value = getattr(self, name)
            if default is MISSING or value != default:
                yield name, value

    @classmethod
    def arity(cls) -> tuple[int, int | None]:
        """The least and the greatest number of operands (None: no limit)."""
        return cls._arity

    @property
    def qualified_name(self) -> str:
        """``Conv``, or ``com.microsoft.Attention`` outside ai.onnx."""
        return f"{self.domain}.{self.op_name}" if self.domain else self.op_name


_NAMES: dict[type[Op], tuple[str, ...]] = {}
_DEFAULTS: dict[type[Op], tuple[tuple[str, Any], ...]] = {}


def attribute_names(cls: type[Op]) -> tuple[str, ...]:
    """The attribute names of an operator class in declaration order."""
    found = _NAMES.get(cls)
    if found is None:
        found = _NAMES[cls] = tuple(f.name for f in fields(cls))  # type: ignore[arg-type]
    return found


def _defaults(cls: type[Op]) -> tuple[tuple[str, Any], ...]:
    found = _DEFAULTS.get(cls)
    if found is None:
        found = _DEFAULTS[cls] = tuple((f.name, f.default) for f in fields(cls))  # type: ignore[arg-type]
    return found


def _arity_of(cls: type[Op]) -> tuple[int, int | None]:
    least, most = 0, 0
    for parameter in list(inspect.signature(cls.infer).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return least, None
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            most += 1
            least += parameter.default is parameter.empty
    return least, most


def infer_types(op: Op, operands: Sequence[Type | None], outputs: int, regions: Sequence[Graph] = (), where: str = "") -> tuple[Type, ...]:
    """Run an operator's inference: checks the operand count, gives exactly ``outputs`` types and names the node in errors."""
    least, most = op._arity
    if len(operands) < least or (most is not None and len(operands) > most):
        expected = str(least) if most == least else f"{least} to {most}" if most is not None else f"at least {least}"
        raise Diagnostic(E_OPERANDS, f"{op.qualified_name} takes {expected} operands, not {len(operands)}", where)
    if any(operands[i] is None for i in range(least)):
        raise Diagnostic(E_OPERANDS, f"a required operand of {op.qualified_name} is absent", where)
    if UNKNOWN in operands:
        return (UNKNOWN,) * outputs
    try:
        result = op.infer(*operands, regions=regions) if op.region_names else op.infer(*operands)
    except Diagnostic as error:
        if not error.where:
            error.where = where
        raise
    types = result if type(result) is tuple else (result,)
    if len(types) < outputs:
        raise Diagnostic(E_OPERANDS, f"{op.qualified_name} has {len(types)} results, the node names {outputs}", where)
    return types[:outputs]


@dataclass(frozen=True)
class Opaque(Op, abstract=True):
    """An operator without a class: carried through, priced as unknown, exported unchanged, never dropped.

    Attributes:
        op_domain: its ONNX domain.
        type_name: its ONNX operator name.
        version: the opset version of the domain it was read at.
        attrs: names and decoded values, sorted by name (tensors as `TensorData`, subgraphs are kept as regions).
        regions: attribute names of its subgraphs.
        result_types: types declared for the results in the file (value_info), `UNKNOWN` where there is none.
    """

    op_domain: str
    type_name: str
    version: int
    attrs: tuple[tuple[str, Any], ...] = ()
    regions: tuple[str, ...] = ()
    result_types: tuple[Type, ...] = ()
    _arity: ClassVar[tuple[int, int | None]] = (0, None)

    pure: ClassVar[bool] = False  # nothing is known, so nothing may be merged or folded

    @property
    def domain(self) -> str:  # type: ignore[override]
        return self.op_domain

    @property
    def op_name(self) -> str:  # type: ignore[override]
        return self.type_name

    @property
    def region_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.regions

    def attributes(self) -> Iterator[tuple[str, Any]]:
        return iter(self.attrs)

    def changed_attributes(self) -> Iterator[tuple[str, Any]]:
        return iter(self.attrs)

    def infer(self, *operands: Any, **_: Any) -> Any:
        return self.result_types or (UNKNOWN,) * 64

    def evaluate(self, *operands: Any, **_: Any) -> Any:
        if self.op_domain in ("", "ai.onnx.ml"):
            from .reference import evaluate_by_reference

            return evaluate_by_reference(self, operands)
        raise Diagnostic(
            E_EVALUATE,
            f"{self.qualified_name} is opaque: its meaning is not known here",
            hint="register a Python implementation with edgec.register_op",
        )
