"""Strict reading of one table of a target file: every key is asked for, every number is complete, nothing is left over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.diagnostics import Diagnostic, did_you_mean
from ..hardware import TAGS, Quantity
from .errors import E_TARGET_ABSURD, E_TARGET_KEY, E_TARGET_NUMBER, E_TARGET_VALUE, problem
from .units import si_unit, to_si, units_of

NUMBER_KEYS = ("value", "unit", "tag", "source", "spread")
EXACT_TAGS = ("datasheet", "computed")  # the others must say how wrong they may be
BOUNDS: dict[str, tuple[float, float]] = {  # far beyond any device there is: what lies outside is a slip
    "B": (64, 1e14),
    "B/s": (1e4, 1e15),
    "ops/s": (1e5, 1e17),
    "op/cycle": (0.01, 1e6),
    "B/cycle": (0.01, 1e6),
    "Hz": (1e5, 2e10),
    "s": (1e-9, 10),
    "J": (1e-17, 1e-6),
    "J/B": (1e-16, 1e-6),
    "W": (1e-6, 1e5),
    "K/W": (1e-4, 1e4),
    "J/K": (1e-4, 1e6),
    "K": (200, 600),
    "V": (0.1, 20),
    "1": (1e-5, 1e3),
}


class Section:
    """A table with its place, and the keys that were asked for.

    Attributes:
        table: the plain data.
        file: the file's name, for messages.
        key: the dotted key of the table.
        sources: the file's citations by their short keys.
    """

    def __init__(self, table: Mapping[str, Any], file: str, key: str, sources: Mapping[str, str]) -> None:
        self.table = table
        self.file = file
        self.key = key
        self.sources = sources
        self.asked: list[str] = []

    def place(self, name: str = "") -> str:
        """The dotted key of an entry."""
        return ".".join(part for part in (self.key, name) if part)

    def error(self, code: str, name: str, message: str, hint: str, *notes: str) -> Diagnostic:
        """A diagnostic about an entry of the table."""
        return problem(code, self.file, self.place(name), message, hint, *notes)

    def get(self, name: str) -> Any:
        """The plain value of a key, None when it is absent."""
        self.asked.append(name)
        return self.table.get(name)

    def finish(self) -> None:
        """Refuse the keys that nothing asked for."""
        for name in self.table:
            if name not in self.asked:
                hint = did_you_mean(name, sorted(set(self.asked)))
                raise self.error(E_TARGET_KEY, name, f"there is no key '{name}' here", hint)

    # -- plain values --------------------------------------------------------------------------------------------------
    def text(self, name: str, default: str | None = None, choices: Sequence[str] = ()) -> str:
        """A text; required when there is no default."""
        value = self.get(name)
        if value is None:
            if default is None:
                raise self.error(E_TARGET_VALUE, name, f"'{name}' is missing", f'write {name} = "…"' + _of(choices))
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.error(E_TARGET_VALUE, name, f"'{name}' must be a text, not {value!r}", f'write {name} = "…"' + _of(choices))
        if choices and value not in choices:
            raise self.error(E_TARGET_VALUE, name, f"'{name}' cannot be '{value}'", did_you_mean(value, list(choices)))
        return value

    def integer(self, name: str, default: int | None = None, least: int = 1, most: int = 1 << 20) -> int:
        """A count; required when there is no default."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            what = "is missing" if value is None else f"cannot be {value!r}"
            raise self.error(E_TARGET_VALUE, name, f"'{name}' {what}", f"write an integer of {least} to {most}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty when absent."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(E_TARGET_VALUE, name, f"'{name}' must be a list of texts", f'write {name} = ["…", "…"]')
        return tuple(value)

    def pair(self, name: str) -> tuple[int, int] | None:
        """Two positive integers, None when absent."""
        value = self.get(name)
        if value is None:
            return None
        fits = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value)
        if not fits:
            raise self.error(E_TARGET_VALUE, name, f"'{name}' must be rows and columns, not {value!r}", f"write {name} = [16, 16]")
        return value[0], value[1]

    # -- tables --------------------------------------------------------------------------------------------------------
    def section(self, name: str, required: bool = False) -> Section | None:
        """A table."""
        value = self.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, dict):
            what = "is missing" if value is None else "must be a table"
            raise self.error(E_TARGET_VALUE, name, f"'{name}' {what}", f"write a table [{self.place(name)}]")
        return Section(value, self.file, self.place(name), self.sources)

    def sections(self) -> dict[str, Section]:
        """All entries, each of which must be a table."""
        return {name: found for name in self.table if (found := self.section(name, required=True)) is not None}

    # -- numbers -------------------------------------------------------------------------------------------------------
    def quantity(self, name: str, *units: str) -> Quantity:
        """A number in one of the given SI units."""
        found = self.maybe(name, *units)
        if found is None:
            hint = f'write {name} = {{ value = …, unit = "{units_of(*units)[0]}", tag = "datasheet", source = "…" }}'
            raise self.error(E_TARGET_NUMBER, name, f"the number '{name}' is missing", hint)
        return found

    def maybe(self, name: str, *units: str) -> Quantity | None:
        """The same; None when it is absent."""
        return None if self.get(name) is None else self._number(name, self.table[name], units)

    def quantities(self, name: str, *units: str) -> tuple[Quantity, ...]:
        """A list of numbers, at least one."""
        value = self.get(name)
        if not isinstance(value, list) or not value:
            raise self.error(E_TARGET_NUMBER, name, f"'{name}' must be a list of numbers", f"write {name} = [{{ value = …, … }}, …]")
        return tuple(self._number(f"{name}[{index}]", item, units) for index, item in enumerate(value))

    def mapping(self, name: str, choices: Sequence[str], *units: str) -> dict[str, Quantity]:
        """A table of numbers whose keys are known words, empty when absent."""
        inner = self.section(name)
        if inner is None:
            return {}
        for key in inner.table:
            if key not in choices:
                raise inner.error(E_TARGET_KEY, key, f"there is no key '{key}' here", did_you_mean(key, list(choices)))
        return {key: inner.quantity(key, *units) for key in inner.table}

    def cite(self, name: str, text: str) -> str:
        """A source in full. Parts between semicolons that begin with a key of the table of sources (``key`` or ``key: detail``) are
        written out, everything else is a citation as it is."""
        head = text.partition(":")[0].partition(";")[0]
        if head not in self.sources and " " not in head and len(text) < 20:
            close = did_you_mean(head, list(self.sources))
            raise self.error(E_TARGET_NUMBER, name, f"there is no source '{head}'", f"add it to [sources]; {close}")
        return "; ".join(self._written_out(part) for part in text.split("; "))

    def _written_out(self, part: str) -> str:
        head, _, detail = part.partition(":")
        if head not in self.sources:
            return part
        return f"{self.sources[head]}: {detail.strip()}" if detail.strip() else self.sources[head]

    def _number(self, name: str, raw: Any, units: tuple[str, ...]) -> Quantity:
        if not isinstance(raw, dict):
            hint = f'write {name} = {{ value = {raw!r}, unit = "{units_of(*units)[0]}", tag = "estimate", source = "…", spread = 0.3 }}'
            raise self.error(E_TARGET_NUMBER, name, f"'{name}' is not a table with value, unit, tag and source", hint)
        for key in raw:
            if key not in NUMBER_KEYS:
                raise self.error(E_TARGET_KEY, f"{name}.{key}", f"a number has no key '{key}'", did_you_mean(key, list(NUMBER_KEYS)))
        for key in ("value", "unit", "tag", "source"):
            if key not in raw:
                raise self.error(E_TARGET_NUMBER, name, f"the number '{name}' has no {key}", f"add {key} = …")
        value, unit, tag = raw["value"], raw["unit"], raw["tag"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(E_TARGET_NUMBER, name, f"the value of '{name}' is not a number: {value!r}", "write value = …")
        base = si_unit(unit) if isinstance(unit, str) else None
        if base not in units:
            wanted = units_of(*units)
            hint = did_you_mean(str(unit), wanted) if base is None else f"use one of: {', '.join(wanted[:12])}"
            raise self.error(E_TARGET_NUMBER, name, f"'{name}' cannot be in {unit!r}", hint)
        if tag not in TAGS:
            raise self.error(E_TARGET_NUMBER, name, f"'{name}' has the tag {tag!r}", did_you_mean(str(tag), list(TAGS)))
        if not isinstance(raw["source"], str) or not raw["source"].strip():
            raise self.error(E_TARGET_NUMBER, name, f"'{name}' has no source", "cite the document, or say how it was estimated")
        low, high = self._interval(name, raw, value, unit, tag)
        self._plausible(name, to_si(value, unit), low, high, base, f"{value:g} {unit}")
        return Quantity(to_si(value, unit), base, tag, self.cite(name, raw["source"]), low, high)

    def _interval(self, name: str, raw: Mapping[str, Any], value: float, unit: str, tag: str) -> tuple[float, float]:
        spread = raw.get("spread")
        if spread is None:
            if tag not in EXACT_TAGS:
                hint = "add spread = 0.2 (relative), or spread = [low, high] in the number's unit"
                raise self.error(E_TARGET_NUMBER, name, f"'{name}' is tagged {tag} and has no spread", hint)
            spread = 0
        numbers = spread if isinstance(spread, list) else [spread]
        if not all(isinstance(s, int | float) and not isinstance(s, bool) and math.isfinite(s) for s in numbers):
            raise self.error(E_TARGET_NUMBER, f"{name}.spread", f"a spread cannot be {spread!r}", "write a number, or [low, high]")
        if isinstance(spread, list):
            if len(spread) != 2:
                raise self.error(E_TARGET_NUMBER, f"{name}.spread", "an interval has two ends", "write spread = [low, high]")
            return to_si(spread[0], unit), to_si(spread[1], unit)
        if not 0 <= spread < 1:
            hint = "write 0 to 0.99, or spread = [low, high] in the number's unit"
            raise self.error(E_TARGET_ABSURD, f"{name}.spread", f"a relative spread cannot be {spread:g}", hint)
        return to_si(value * (1 - spread), unit), to_si(value * (1 + spread), unit)

    def _plausible(self, name: str, value: float, low: float, high: float, unit: str, written: str) -> None:
        least, most = BOUNDS[unit]
        if not math.isfinite(value) or value <= 0:
            raise self.error(E_TARGET_ABSURD, name, f"'{name}' is {written}; it must be positive", "leave it out when it is not known")
        if not least <= value <= most:
            hint = f"numbers in {unit} lie within {least:g} and {most:g}: check the prefix"
            raise self.error(E_TARGET_ABSURD, name, f"'{name}' is {written}, which no device has", hint)
        if not low <= value <= high or low < 0:
            hint = "the interval [low, high] is in the number's own unit and contains the value"
            raise self.error(E_TARGET_ABSURD, f"{name}.spread", f"[{low:g}, {high:g}] {unit} does not fit {value:g} {unit}", hint)


def _of(choices: Sequence[str]) -> str:
    return f" with one of: {', '.join(choices)}" if choices else ""
