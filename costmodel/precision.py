"""Precisions: the element types in which a model is priced, and bits per element with what quantisation carries along."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from ..ir.dims import Dim, ceildiv
from ..ir.dtypes import DType
from ..ir.types import OptionalType, TensorType, Type

E_PRECISION = code(
    "E1014",
    "unknown precision",
    "The precision is one of: native (as the model is written), f32, f16, bf16, i8 (weights and activations), w8 and w4 (weights only).",
)
_WIDE = (DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16)


@dataclass(frozen=True)
class Precision:
    """Element types that replace those of floating-point tensors; None keeps the model's own.

    Attributes:
        name: as users type it.
        activations: short name of the activations' type.
        weights: short name of the constants' type.
        compute: short name of the type that contractions multiply in.
        group: elements that share one scale; 0 for one scale per channel or tensor, which is not counted.
        scale_bits: bits of one scale.
        zero_bits: bits of one zero point.
    """

    name: str = "native"
    activations: str | None = None
    weights: str | None = None
    compute: str | None = None
    group: int = 0
    scale_bits: int = 16
    zero_bits: int = 0

    def effective_bits(self, constant: bool) -> Fraction | None:
        """Bits per element of a weight or an activation, shares of scales and zero points included; None for native."""
        kind = self.weights if constant else self.activations
        return None if kind is None else effective_bits(BITS[kind], self.group if constant else 0, self.scale_bits, self.zero_bits)

    def bytes(self, type_: Type, constant: bool = False) -> Dim | None:
        """The size of a value in this precision; None for texts, sequences and unknown shapes."""
        if isinstance(type_, OptionalType):
            return self.bytes(type_.element, constant)
        if not isinstance(type_, TensorType) or not type_.dtype.bits or type_.elements is None:
            return None
        kind = (self.weights if constant else self.activations) if type_.dtype in _WIDE else None
        if kind is None:
            return packed_bytes(type_.elements, type_.dtype.bits)
        size = packed_bytes(type_.elements, BITS[kind])
        if constant and self.group:
            size = size + ceildiv(ceildiv(type_.elements, self.group) * (self.scale_bits + self.zero_bits), 8)
        return size

    def compute_type(self, dtype: DType) -> str:
        """The type that an operator on elements of this type computes in."""
        return self.compute if self.compute is not None and dtype in _WIDE else dtype.short

    def element_type(self, dtype: DType) -> str:
        """The type in which operators that contract nothing see an activation."""
        return self.activations if self.activations is not None and dtype in _WIDE else dtype.short


BITS = {kind.short: kind.bits for kind in DType}
PRECISIONS: dict[str, Precision] = {
    p.name: p
    for p in (
        Precision(),
        Precision("f32", "f32", "f32", "f32"),
        Precision("f16", "f16", "f16", "f16"),
        Precision("bf16", "bf16", "bf16", "bf16"),
        Precision("i8", "i8", "i8", "i8"),
        Precision("w8", None, "i8", None, group=128),
        Precision("w4", None, "i4", None, group=128),
    )
}


def precision_of(name: str | Precision) -> Precision:
    """The named precision.

    Raises:
        Diagnostic: E1014 for an unknown name.
    """
    if isinstance(name, Precision):
        return name
    found = PRECISIONS.get(name)
    if found is None:
        raise Diagnostic(E_PRECISION, f"there is no precision '{name}'", hint=did_you_mean(name, list(PRECISIONS)))
    return found


def packed_bytes(elements: Dim, bits: int) -> Dim:
    """Bytes that packed elements take."""
    return elements * (bits // 8) if bits % 8 == 0 else ceildiv(elements * bits, 8)


def effective_bits(bits: int, group: int, scale_bits: int = 16, zero_bits: int = 0) -> Fraction:
    """Bits per element when every group of elements carries a scale and a zero point.

    >>> float(effective_bits(4, 128)), float(effective_bits(4, 128, 16, 16)), float(effective_bits(4, 16, 8))
    (4.125, 4.25, 4.5)
    """
    return Fraction(bits) + (Fraction(scale_bits + zero_bits, group) if group else 0)
