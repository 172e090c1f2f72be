"""Energy of arithmetic and of memory by process node, between the nodes for which figures are published.

Published tables give picojoules at two nodes (45 nm and 7 nm, see ``_energy.toml``). Between them, and beyond them, energy follows a power
of the node that passes through both points, ``E(n) = E7 · (n / 7)^a`` with ``a = ln(E45 / E7) / ln(45 / 7)``. What lies outside of the two
nodes, and what has a figure at one node only, is tagged an estimate. On-chip memory is interpolated over the logarithm of its capacity too.
A multiply-accumulate is one multiplication and one addition (of the accumulator's type: int32 for integers, float32 for bfloat16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..hardware import Quantity, Tag
from .section import Section

LOW_NM, HIGH_NM = 7.0, 45.0
NODES = {"7nm": LOW_NM, "45nm": HIGH_NM}
INSIDE, OUTSIDE = 0.35, 0.6  # relative spread of an interpolated and of an extrapolated energy
MAC_PARTS: dict[str, tuple[str, str]] = {  # element type: multiplication, addition of the accumulator
    "i8": ("i8", "i32"),
    "i16": ("i16", "i32"),
    "i32": ("i32", "i32"),
    "f16": ("f16", "f16"),
    "bf16": ("bf16", "f32"),
    "f32": ("f32", "f32"),
}
ALIASES = {"u8": "i8", "u16": "i16"}
HALVES = {"i4": "i8", "u4": "i8"}  # a multiplier of half the width takes a quarter of the area and energy
EIGHTHS = {"f8e4m3fn": "f16", "f8e5m2": "f16"}


@dataclass(frozen=True)
class EnergyTable:
    """Published energies.

    Attributes:
        add: joules of an addition by element type and node (nanometres).
        multiply: the same for a multiplication.
        sram: joules per byte by capacity in bytes and node.
        dram: joules per byte by kind of memory, interface and array together.
    """

    add: Mapping[str, Mapping[float, Quantity]]
    multiply: Mapping[str, Mapping[float, Quantity]]
    sram: Mapping[float, Mapping[float, Quantity]]
    dram: Mapping[str, Quantity]

    @classmethod
    def read(cls, section: Section) -> EnergyTable:
        """The table of ``_energy.toml``."""

        def by_node(name: str, unit: str) -> dict[str, dict[float, Quantity]]:
            inner = section.section(name, required=True)
            assert inner is not None
            return {
                key: {nm: q for node, nm in NODES.items() if (q := row.maybe(node, unit)) is not None}
                for key, row in inner.sections().items()
            }

        sizes = {"8KiB": 8192.0, "32KiB": 32768.0, "1MiB": 1048576.0}
        sram = {sizes[key]: row for key, row in by_node("sram", "J/B").items()}
        dram = section.section("dram", required=True)
        assert dram is not None
        return cls(by_node("add", "J"), by_node("multiply", "J"), sram, {name: dram.quantity(name, "J/B") for name in dram.table})

    def dtypes(self) -> tuple[str, ...]:
        """The element types of which a multiply-accumulate has a price."""
        return (*MAC_PARTS, *ALIASES, *HALVES, *EIGHTHS)

    def mac(self, dtype: str, node_nm: float) -> Quantity | None:
        """Joules of one multiply-accumulate at a node; None for an element type without figures."""
        for names, share in ((ALIASES, 1.0), (HALVES, 0.25), (EIGHTHS, 0.5)):
            if dtype in names:
                like = self.mac(names[dtype], node_nm)
                if like is None or share == 1.0:
                    return like
                scaled = like.scaled(share)
                low, high = scaled.low * 0.7, scaled.high * 1.5
                return Quantity(scaled.value, "J", "estimate", f"{share:g} of {names[dtype]}: {like.source}", low, high)
        if dtype not in MAC_PARTS:
            return None
        factor, term = MAC_PARTS[dtype]
        return _sum(self._at(self.multiply, factor, node_nm), self._at(self.add, term, node_nm))

    def operation(self, dtype: str, node_nm: float) -> Quantity | None:
        """Joules of one elementwise operation: the mean of an addition and a multiplication."""
        dtype = ALIASES.get(dtype, dtype)
        if dtype not in MAC_PARTS:
            return None
        both = _sum(self._at(self.multiply, dtype, node_nm), self._at(self.add, dtype, node_nm))
        if both is None:
            return None
        half = both.scaled(0.5)
        return Quantity(half.value, "J", half.tag, "mean of addition and multiplication, " + half.source, half.low, half.high)

    def on_chip(self, size: float, node_nm: float) -> Quantity:
        """Joules per byte of an on-chip memory of ``size`` bytes."""
        sizes = sorted(self.sram)
        first = max((i for i, s in enumerate(sizes[:-1]) if s <= size), default=0)  # beyond the ends the outer slope goes on
        below, above = sizes[first], sizes[first + 1]
        cell_nm = max(node_nm, LOW_NM)  # memory cells have hardly shrunk since 7 nm
        low, high = (between(self.sram[s], cell_nm) for s in (below, above))
        share = math.log(size / below) / math.log(above / below)
        value = low.value ** (1 - share) * high.value**share
        outside = not sizes[0] <= size <= sizes[-1] or node_nm < LOW_NM
        tag: Tag = "estimate" if outside else low.tag
        spread = 2 * OUTSIDE if outside else OUTSIDE
        source = (
            f"on-chip memory of {size / 1024:g} KiB at {node_nm:g} nm, power law over nodes and capacities: {_origin(self.sram[below])}"
        )
        return Quantity(value, "J/B", tag, source, value / (1 + spread), value * (1 + spread))

    @staticmethod
    def _at(table: Mapping[str, Mapping[float, Quantity]], dtype: str, node_nm: float) -> Quantity | None:
        return between(table[dtype], node_nm) if dtype in table else None


def between(figures: Mapping[float, Quantity], node_nm: float) -> Quantity:
    """The figure of a node from those of 45 nm and 7 nm, or from the only one there is.

    >>> known = {nm: Quantity(e, "J", "datasheet", "paper", e, e) for nm, e in ((7.0, 1e-12), (45.0, 4e-12))}
    >>> round(between(known, 45.0).value * 1e12, 3), round(between(known, 18.0).value * 1e12, 3)
    (4.0, 2.021)
    """
    if node_nm in figures:
        return figures[node_nm]
    if len(figures) == 1:
        ((known, figure),) = figures.items()
        exponent, tag, spread = 0.6, "estimate", 2 * OUTSIDE  # between the exponents of the operations that have two figures
        value = figure.value * (node_nm / known) ** exponent
    else:
        low, high = figures[LOW_NM].value, figures[HIGH_NM].value
        exponent = math.log(high / low) / math.log(HIGH_NM / LOW_NM)
        value = low * (node_nm / LOW_NM) ** exponent
        inside = LOW_NM < node_nm < HIGH_NM
        sure = all(figure.tag != "estimate" for figure in figures.values())
        tag, spread = "computed" if inside and sure else "estimate", INSIDE if inside else OUTSIDE
    unit = next(iter(figures.values())).unit
    source = f"(node / 7 nm)^{exponent:.2f} at {node_nm:g} nm through {_origin(figures)}"
    return Quantity(value, unit, "computed" if tag == "computed" else "estimate", source, value / (1 + spread), value * (1 + spread))


def _origin(figures: Mapping[float, Quantity]) -> str:
    return "; ".join(f"{nm:g} nm: {figures[nm].source}" for nm in sorted(figures, reverse=True))


def _sum(left: Quantity | None, right: Quantity | None) -> Quantity | None:
    if left is None or right is None:
        return None
    source = left.source if left.source == right.source else f"multiplication: {left.source}; addition: {right.source}"
    tag: Tag = "estimate" if "estimate" in (left.tag, right.tag) else "computed"
    return Quantity(left.value + right.value, left.unit, tag, source, left.low + right.low, left.high + right.high)
