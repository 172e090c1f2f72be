"""How the public inputs and outputs of a model meet those of the ML program.

Core ML's multi-arrays hold float32, float16 (since iOS16) and int32; they have at least one dimension, and their names are identifiers.
Whatever else the model's interface says is converted on this side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ..backend import E_RUN
from ..wide_floats import check_range
from .carriers import CARRIERS, INT32_MAX, NUMPY, WIDE
from .versions import Release


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: its public name.
        feature: its name in the ML program; empty for an input that the program does not have.
        dtype: the public element type.
        kind: the element type in the program's interface: ``fp32``, ``fp16`` or ``int32``.
        scalar: whether the public tensor has no dimensions: the program's has one element.
    """

    name: str
    feature: str
    dtype: DType
    kind: str
    scalar: bool

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {"name": self.name, "feature": self.feature, "dtype": self.dtype.short, "kind": self.kind, "scalar": self.scalar}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Port:
        """The inverse of `to_json`."""
        return Port(facts["name"], facts["feature"], DType.from_short(facts["dtype"]), facts["kind"], facts["scalar"])

    @property
    def converts(self) -> bool:
        """Whether the element type changes at the interface."""
        return self.dtype.numpy != np.dtype(NUMPY[self.kind])


def interface_kind(dtype: DType, release: Release) -> str:
    """The element type of a multi-array for a public element type."""
    kind = CARRIERS[dtype]
    if kind == "bool":
        return "int32"
    return "fp32" if kind == "fp16" and release < Release.IOS16 else kind


def to_program(array: Any, port: Port) -> Any:
    """A public input as the program takes it; `Diagnostic` E0505 for numbers that 32 bits do not hold."""
    if port.dtype in WIDE and array.size and (int(array.max()) > INT32_MAX or int(array.min()) < -INT32_MAX - 1):
        message = f"ML programs compute {port.dtype} in 32 bits, which cannot hold these values"
        raise Diagnostic(E_RUN, message, f"input '{port.name}'", "choose another target")
    check_range(array, port.name, "an ML program")
    converted = np.ascontiguousarray(array, NUMPY[port.kind])
    return converted.reshape(1) if port.scalar else converted.reshape(array.shape)


def to_public(array: Any, port: Port) -> Any:
    """A result of the program in its public element type and rank."""
    result = np.asarray(array)
    if port.scalar:
        result = result.reshape(())
    return np.asarray(result.astype(port.dtype.numpy))
