"""How the public inputs and outputs of a model meet those of the OpenVINO model.

OpenVINO drops unused inputs, merges an input with the output that it is copied to, computes 64-bit integers in
32 bits and float64 in float32, and lacks some element types. Copies are therefore made on this side, values are
checked against what the runtime can hold, and element types that it lacks travel as wider ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.model import Model
from ...ir.ops.slice import Slice
from ...ir.types import OptionalType, SequenceType, TensorType
from ..backend import E_LOAD, E_RUN, refuse_model
from .rewrites.numbers import EXACT_MARK

INT32_MAX = 2**31 - 1
FLOAT_EXACT = 2**24
MOVING = frozenset(
    "Identity Reshape Transpose Concat Gather Split Slice Squeeze Unsqueeze Expand Tile Flatten GatherElements GatherND ScatterElements "
    "ScatterND Pad Shape Size ConstantOfShape EyeLike OneHot Range".split()
)
"""Operators that only move elements, or use them as indices and sizes."""
_INDEXED = frozenset("Gather GatherElements GatherND".split())  # their second operand holds indices
WRAPPING = MOVING | frozenset("Add Sub Mul Neg BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift".split())
"""Operators whose 32-bit results do not depend on the sign."""
EXACT = WRAPPING | frozenset("Max Min Abs CumSum TopK Cast Clip".split())
"""Operators that OpenVINO computes exactly on 32-bit integers. It computes the others in float32: comparisons (with the Where
that follows), quotients, remainders, powers, reductions and products of matrices.
"""


@dataclass(frozen=True)
class InputPlan:
    """One public input.

    Attributes:
        name: its public name.
        dtype: the element type that the runtime is given.
        limit: what has to hold of the values: ``int32`` (they must fit 32 bits), ``int24`` (float32 must hold them
            exactly), ``clamp`` (they are clamped to 32 bits: ends of slices), ``float32`` (finite values must stay
            finite in float32), or nothing.
        used: whether the OpenVINO model has this input.
    """

    name: str
    dtype: DType | None
    limit: str = ""
    used: bool = True


@dataclass(frozen=True)
class OutputPlan:
    """One public output: the runtime's output ``port``, a copy of an input, or the constant with the index ``constant``.

    ``dtype`` is the public element type.
    """

    dtype: DType | None
    port: int | None = None
    copy_of: str | None = None
    constant: int | None = None


@dataclass(frozen=True)
class Boundary:
    """The inputs and outputs in the order of the signature."""

    inputs: tuple[InputPlan, ...]
    outputs: tuple[OutputPlan, ...]

    @property
    def has_model(self) -> bool:
        """Whether anything is left to compute."""
        return any(plan.port is not None for plan in self.outputs)

    def pair(self, model: Any, where: str) -> list[InputPlan]:
        """The input that belongs to each input port of an OpenVINO model.

        Pairing is by position. When OpenVINO found inputs that no result depends on and dropped them, the names of
        the others tell which they are.

        Raises:
            Diagnostic: E0504 when ports and plan do not fit together.
        """
        used = [plan for plan in self.inputs if plan.used]
        by_name = {plan.name: plan for plan in used}
        found: list[InputPlan] = []
        for position, port in enumerate(model.inputs):
            named = [by_name[name] for name in sorted(port.names) if name in by_name]
            if len(model.inputs) == len(used) and (not named or used[position] in named):
                found.append(used[position])
            elif len(named) == 1:
                found.append(named[0])
            else:
                raise Diagnostic(E_LOAD, f"no input belongs to port {position}, {sorted(port.names)}", where)
        planned = len({plan.port for plan in self.outputs if plan.port is not None})
        if len(model.outputs) != planned:
            raise Diagnostic(E_LOAD, f"the model has {len(model.outputs)} outputs instead of {planned}", where)
        return found

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "inputs": [[p.name, None if p.dtype is None else p.dtype.short, p.limit, p.used] for p in self.inputs],
            "outputs": [[None if p.dtype is None else p.dtype.short, p.port, p.copy_of, p.constant] for p in self.outputs],
        }

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Boundary:
        """The inverse of `to_json`."""
        inputs = [InputPlan(n, None if d is None else DType.from_short(d), limit, used) for n, d, limit, used in facts["inputs"]]
        outputs = [OutputPlan(None if d is None else DType.from_short(d), *rest) for d, *rest in facts["outputs"]]
        return Boundary(tuple(inputs), tuple(outputs))


def plan_boundary(model: Model, public: Sequence[DType | None], public_outputs: Sequence[DType | None]) -> Boundary:
    """Plan the boundary of a model and reduce the model's own to what OpenVINO has to see, in place.

    Args:
        model: the model whose element types OpenVINO has.
        public: element types of the inputs as the user sees them.
        public_outputs: likewise of the outputs.

    Raises:
        Diagnostic: E0501 for sequences and optionals that would have to cross.
    """
    graph = model.graph
    outputs: list[OutputPlan] = []
    constants = 0
    returned: dict[Value, int] = {}
    names: list[str] = []
    for value, name, dtype in zip(graph.outputs, graph.output_names, public_outputs, strict=True):
        if value.is_input and _same_outside(value, dtype, public):
            outputs.append(OutputPlan(dtype, copy_of=value.name))
            continue
        if value.data is not None:
            outputs.append(OutputPlan(dtype, constant=constants))
            constants += 1
            continue
        _require_tensor(value, f"output '{name}'")
        if value not in returned:
            returned[value] = len(returned)
            names.append(name)
        outputs.append(OutputPlan(dtype, port=returned[value]))
    graph.set_outputs(list(returned), names)
    inputs: list[InputPlan] = []
    kept: list[Value] = []
    for value, dtype in zip(graph.inputs, public, strict=True):
        if not value.uses:
            inputs.append(InputPlan(value.name, None, used=False))
            continue
        _require_tensor(value, f"input '{value.name}'")
        kept.append(value)
        inputs.append(InputPlan(value.name, value.tensor.dtype, _limit(value, dtype)))
    graph.inputs[:] = kept
    for index, value in enumerate(kept):
        value.index = index
    return Boundary(tuple(inputs), tuple(outputs))


def _same_outside(value: Value, dtype: DType | None, public: Sequence[DType | None]) -> bool:
    return not isinstance(value.type, TensorType) or public[value.index] is dtype


def _require_tensor(value: Value, where: str) -> None:
    if not isinstance(value.type, TensorType):
        kind = {SequenceType: "a sequence", OptionalType: "an optional"}.get(type(value.type), "of unknown type")
        raise refuse_model("openvino", "sequence", f"it takes and gives tensors only, this is {kind}", where)
    if value.tensor.dtype is DType.STRING or value.tensor.dtype.is_complex:
        dtype = value.tensor.dtype
        raise refuse_model("openvino", "string" if dtype is DType.STRING else "dtype", f"it has no elements of type {dtype}", where)


def _limit(value: Value, public: DType | None) -> str:
    if public is DType.DOUBLE:
        return "float32"
    if public not in (DType.INT32, DType.UINT32, DType.INT64, DType.UINT64):
        return ""
    if public.bits == 64 and all(_is_slice_bound(user, index) for user, index in value.uses):
        return "clamp"
    if not _only_meets(value, EXACT):
        return "int24"
    return "int32" if public.bits == 64 or public is DType.UINT32 and not _only_meets(value, WRAPPING) else ""


def _is_slice_bound(user: Any, index: int) -> bool:
    return isinstance(getattr(user, "op", None), Slice) and index in (1, 2)


def _only_meets(value: Value, allowed: frozenset[str]) -> bool:
    """Whether integers that depend on the value only meet certain operators."""
    pending, seen = [value], {value}
    while pending:
        for user, index in pending.pop().uses:
            if not isinstance(user, Node):
                if user.parent is not None:
                    return False
                continue
            if EXACT_MARK not in user.metadata:
                if index in user.op.shape_operands or user.op.op_name in _INDEXED and index:
                    continue
                if user.op.op_name not in allowed and not _keeps_bits(user):
                    return False
            following = [v for v in user.outputs if v.dtype is not None and v.dtype.is_integer and v not in seen]
            pending += following
            seen.update(following)
    return True


def _keeps_bits(node: Node) -> bool:
    """Whether a node reads the bits of a 32-bit integer as one of the other sign."""
    types = [v.dtype for v in (*node.inputs, *node.outputs) if v is not None]
    return node.op.op_name == "Cast" and all(dtype in (DType.INT32, DType.UINT32) for dtype in types)


def to_runtime(value: Any, plan: InputPlan) -> Any:
    """A checked public value as the runtime takes it; E0505 when the runtime cannot hold it."""
    where = f"input '{plan.name}'"
    if value is None:
        raise Diagnostic(E_RUN, "an absent optional cannot be run", where)
    array = np.asarray(value)
    if plan.limit == "clamp":
        array = np.clip(array, -INT32_MAX, INT32_MAX)
    elif plan.limit == "int32" and array.size and (int(array.max()) > INT32_MAX or int(array.min()) < -INT32_MAX - 1):
        message = f"OpenVINO computes {array.dtype} in 32 bits, which cannot hold these values"
        raise Diagnostic(E_RUN, message, where, "choose the target ort")
    elif plan.limit == "int24" and array.size and max(int(array.max()), -int(array.min())) > FLOAT_EXACT:
        message = f"OpenVINO compares, divides and sums integers in float32, which holds them up to {FLOAT_EXACT}, not these values"
        raise Diagnostic(E_RUN, message, where, "choose the target ort")
    elif plan.limit == "float32" and array.size:
        finite = array[np.isfinite(array)]
        if finite.size and np.abs(finite).max() > np.finfo(np.float32).max:
            raise Diagnostic(E_RUN, "OpenVINO computes float64 in float32, which cannot hold these values", where, "choose the target ort")
    if plan.dtype is not None and array.dtype != plan.dtype.numpy:
        array = array.astype(plan.dtype.numpy)
    return array


def to_public(array: Any, dtype: DType | None) -> Any:
    """A result of the runtime in its public element type."""
    return array if dtype is None or array.dtype == dtype.numpy else array.astype(dtype.numpy)
