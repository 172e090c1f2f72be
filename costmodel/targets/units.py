"""Units in which people write numbers of hardware, and their conversion to the SI units of `edgec.costmodel.hardware`."""

from __future__ import annotations

DECIMAL = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
LARGE = ("", "k", "M", "G", "T", "P")
SMALL = ("", "m", "µ", "u", "n", "p", "f")
BASES: dict[str, tuple[str, float, tuple[str, ...]]] = {  # as written: SI unit, factor, prefixes that make sense
    "B": ("B", 1.0, (*LARGE, *BINARY)),
    "B/s": ("B/s", 1.0, (*LARGE, *BINARY)),
    "op/s": ("ops/s", 1.0, LARGE),
    "ops/s": ("ops/s", 1.0, LARGE),
    "Hz": ("Hz", 1.0, LARGE),
    "s": ("s", 1.0, SMALL),
    "J": ("J", 1.0, SMALL),
    "J/B": ("J/B", 1.0, SMALL),
    "J/bit": ("J/B", 8.0, SMALL),
    "W": ("W", 1.0, SMALL),
    "K/W": ("K/W", 1.0, ("",)),
    "J/K": ("J/K", 1.0, ("", "k")),
    "K": ("K", 1.0, ("",)),
    "V": ("V", 1.0, ("", "m")),
    "1": ("1", 1.0, ("",)),
    "%": ("1", 0.01, ("",)),
    "op/cycle": ("op/cycle", 1.0, ("",)),
    "B/cycle": ("B/cycle", 1.0, ("",)),
}
CELSIUS = "degC"  # the one unit with an offset: 0 degC are 273.15 K
UNITS: dict[str, tuple[str, float]] = {
    prefix + base: (unit, factor * {**DECIMAL, **BINARY}[prefix]) for base, (unit, factor, prefixes) in BASES.items() for prefix in prefixes
}


def si_unit(unit: str) -> str | None:
    """The SI unit of a unit as written; None when it is not known.

    >>> si_unit("GB/s"), si_unit("pJ/bit"), si_unit("degC"), si_unit("parsec")
    ('B/s', 'J/B', 'K', None)
    """
    return "K" if unit == CELSIUS else UNITS[unit][0] if unit in UNITS else None


def to_si(value: float, unit: str) -> float:
    """A number of a known unit in SI.

    >>> to_si(68.0, "GB/s"), to_si(25, "degC"), to_si(4, "MiB")
    (68000000000.0, 298.15, 4194304.0)
    """
    return value + 273.15 if unit == CELSIUS else value * UNITS[unit][1]


def units_of(*si: str) -> list[str]:
    """All spellings of some SI units, for hints."""
    spelled = [unit for unit, (base, _) in UNITS.items() if base in si]
    return [*spelled, CELSIUS] if "K" in si else spelled
