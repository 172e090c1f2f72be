"""What a model takes and gives, as plain data, and the check of feeds against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.model import Model
from ..ir.types import OptionalType, SequenceType, TensorType, Type

E_FEED_NAME = code(
    "E0601",
    "the feeds do not name the model's inputs",
    "Every input of the model needs exactly one array under its own name. `edgec inspect MODEL` lists the inputs.",
)
E_FEED_DTYPE = code(
    "E0602",
    "an input array has the wrong element type",
    "Feeds are never converted silently: a model that takes float32 given float64 is a mistake in the data "
    "more often than not. "
    "Convert the array with `array.astype(...)` before it is stored.",
)
E_FEED_SHAPE = code(
    "E0603",
    "an input array has the wrong shape",
    "The array's rank or one of the model's fixed dimensions differs. Symbolic dimensions admit every size.",
)

E_FROZEN = code(
    "E0607",
    "an input has another value than the one it was frozen to",
    "The input was made a constant when the model was compiled (--freeze), so no other value can have an effect.",
)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: its public name.
        dtype: the element type, None when the model does not say.
        shape: integers and symbolic expressions as text; None when the rank is not known.
        kind: ``tensor``, ``sequence``, ``optional`` or ``unknown``; of the last three only tensors inside are
            described.
    """

    name: str
    dtype: DType | None
    shape: tuple[int | str, ...] | None
    kind: str = "tensor"

    @staticmethod
    def of(name: str, type_: Type) -> TensorSpec:
        """The description of a value with this type."""
        if isinstance(type_, TensorType):
            shape = None if type_.shape is None else tuple(d if isinstance(d, int) else str(d) for d in type_.shape)
            return TensorSpec(name, type_.dtype, shape)
        if isinstance(type_, SequenceType | OptionalType):
            inner = TensorSpec.of(name, type_.element)
            return TensorSpec(name, inner.dtype, inner.shape, "sequence" if isinstance(type_, SequenceType) else "optional")
        return TensorSpec(name, None, None, "unknown")

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        facts: dict[str, Any] = {
            "name": self.name,
            "dtype": None if self.dtype is None else self.dtype.short,
            "shape": None if self.shape is None else list(self.shape),
        }
        return facts if self.kind == "tensor" else {**facts, "kind": self.kind}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> TensorSpec:
        """The inverse of `to_json`; KeyError or TypeError when the data is malformed."""
        dtype = None if facts["dtype"] is None else DType.from_short(facts["dtype"])
        shape = None if facts["shape"] is None else tuple(facts["shape"])
        return TensorSpec(facts["name"], dtype, shape, facts.get("kind", "tensor"))

    def __str__(self) -> str:
        shape = "*" if self.shape is None else ", ".join(map(str, self.shape))
        text = f"{self.dtype or '?'}[{shape}]"
        return text if self.kind == "tensor" else f"{self.kind}<{text}>"


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model in their order.

    Attributes:
        frozen: inputs of the source that were made constants, with their values: feeds may still name them, with that value only.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    frozen: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @staticmethod
    def of(model: Model) -> Signature:
        """The signature of a model."""
        graph = model.graph
        inputs = _specs([v.name for v in graph.inputs], graph.inputs)
        return Signature(inputs, _specs(graph.output_names, graph.outputs), frozen=dict(model.frozen))

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        facts: dict[str, Any] = {"inputs": [s.to_json() for s in self.inputs], "outputs": [s.to_json() for s in self.outputs]}
        return {**facts, "frozen": dict(sorted(self.frozen.items()))} if self.frozen else facts

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Signature:
        """The inverse of `to_json`; KeyError or TypeError when the data is malformed."""
        inputs, outputs = (tuple(TensorSpec.from_json(f) for f in facts[key]) for key in ("inputs", "outputs"))
        return Signature(inputs, outputs, frozen=dict(facts.get("frozen", {})))

    def check(self, feeds: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """The feeds in the order of the inputs, each of the right element type and shape.

        Args:
            feeds: arrays (or whatever `numpy.asarray` takes) by input name; lists of arrays for sequences,
                None for an absent optional.
            where: the place that diagnostics name, usually the sample.

        Raises:
            Diagnostic: E0601 unknown or missing names, E0602 element types, E0603 ranks and fixed dimensions, E0607 another value for an
                input that was made a constant.
        """
        names = [spec.name for spec in self.inputs]
        for name in feeds:
            if name in self.frozen:
                self._check_frozen(name, feeds[name], where)
            elif name not in names:
                missing = [n for n in names if n not in feeds]
                hint = did_you_mean(str(name), missing or names)
                raise Diagnostic(E_FEED_NAME, f"the model has no input '{name}'", where, hint, [_listing(self.inputs)])
        for spec in self.inputs:
            if spec.name not in feeds and spec.kind != "optional":
                raise Diagnostic(E_FEED_NAME, f"input '{spec.name}' is missing", where, f"it takes {spec}", [_listing(self.inputs)])
        return {spec.name: conform(spec, feeds.get(spec.name), where) for spec in self.inputs}

    def _check_frozen(self, name: str, value: Any, where: str) -> None:
        given, expected = np.asarray(value), np.asarray(self.frozen[name])
        if expected.ndim and given.shape != expected.shape or not np.all(given == expected):
            message = f"the model was compiled for the value {self.frozen[name]} of '{name}'"
            hint = "leave it out, feed that value, or compile again with another --freeze"
            raise Diagnostic(E_FROZEN, message, where or f"input '{name}'", hint)


def _specs(names: Sequence[str], values: Sequence[Value]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.of(name, value.type) for name, value in zip(names, values, strict=True))


def _listing(specs: Sequence[TensorSpec]) -> str:
    return "inputs: " + (", ".join(f"{s.name}: {s}" for s in specs) or "none")


def conform(spec: TensorSpec, value: Any, where: str = "") -> Any:
    """One fed value as a contiguous array of exactly the declared element type; see `Signature.check`."""
    place = f"{where}, input '{spec.name}'" if where else f"input '{spec.name}'"
    if spec.kind == "optional" and value is None:
        return None
    if spec.kind in ("sequence", "unknown") or isinstance(value, list | tuple) and _holds_arrays(value):
        if isinstance(value, list | tuple):
            return [_array(item, spec.dtype, place) for item in value]
        if spec.kind == "sequence":
            raise Diagnostic(E_FEED_SHAPE, "a list of arrays is needed for a sequence", place)
    array = _array(value, spec.dtype, place)
    if spec.shape is not None and spec.kind == "tensor":
        _check_shape(spec, array, place)
    return array


def _holds_arrays(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(item, np.ndarray) for item in value)


def _array(value: Any, dtype: DType | None, place: str) -> np.ndarray[Any, Any]:
    given_as_array = isinstance(value, np.ndarray | np.generic)
    array = np.asarray(value)
    if dtype is None:
        return np.ascontiguousarray(array).reshape(array.shape)
    wanted = dtype.numpy
    if array.dtype != wanted:
        if dtype is DType.STRING and array.dtype.kind in "OSU":
            array = array.astype(np.object_)
        elif array.dtype.kind == "V" and array.dtype.names is None and array.dtype.itemsize == wanted.itemsize:
            # .npy files keep only the width of the element types that numpy does not know
            array = array.view(wanted)
        elif array.dtype.newbyteorder("=") == wanted:
            array = array.astype(wanted)
        elif not given_as_array and array.dtype.kind in "bif" and np.can_cast(array.dtype.kind, wanted, "same_kind"):
            array = array.astype(wanted)  # Python numbers have no element type of their own
        else:
            raise Diagnostic(
                E_FEED_DTYPE,
                f"the array holds {array.dtype}, the model takes {wanted.name} ({dtype})",
                place,
                f"convert it with array.astype('{wanted.name}')" if array.dtype.kind not in "OSU" else "",
            )
    return np.ascontiguousarray(array).reshape(array.shape)


def _check_shape(spec: TensorSpec, array: np.ndarray[Any, Any], place: str) -> None:
    assert spec.shape is not None
    if len(array.shape) != len(spec.shape):
        raise Diagnostic(E_FEED_SHAPE, f"the array has rank {array.ndim} (shape {list(array.shape)}), the model takes {spec}", place)
    for axis, (size, dim) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if isinstance(dim, int) and size != dim:
            raise Diagnostic(E_FEED_SHAPE, f"dimension {axis} is {size} (shape {list(array.shape)}), the model takes {dim} ({spec})", place)
