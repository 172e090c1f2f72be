"""All numbers of a target with their keys: for people, for JSON and for tests that each one is cited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ..hardware import OperatingPoint, Quantity, Target


@dataclass(frozen=True)
class Entry:
    """One number of a target.

    Attributes:
        key: dotted path, as in the target file where it stands there.
        quantity: the number.
        remark: what it belongs to, for example the power mode of an operating point.
    """

    key: str
    quantity: Quantity
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """The number as plain data."""
        q = self.quantity
        facts = {"key": self.key, "value": q.value, "unit": q.unit, "low": q.low, "high": q.high, "tag": q.tag, "source": q.source}
        return {**facts, "remark": self.remark} if self.remark else facts


def entries(target: Target) -> tuple[Entry, ...]:
    """All numbers of a target in the order in which it is described. The memory that all engines share is listed once."""
    found = [*_walk(target.dram, "dram"), *_walk(target.power, "power"), *_walk(target.thermal, "thermal")]
    shared: dict[str, None] = {}
    for engine in target.engines:
        for field in fields(engine):
            if field.name != "memory":
                found += _walk(getattr(engine, field.name), f"engines.{engine.name}.{field.name}")
        for level in engine.memory:
            if level is target.dram or level.name in shared:
                continue
            common = level.scope == "target" and level.name != target.dram.name
            if common:
                shared[level.name] = None
            found += _walk(level, f"memory.{level.name}" if common else f"engines.{engine.name}.memory.{level.name}")
    return tuple(found)


def _walk(thing: Any, key: str) -> Iterator[Entry]:
    if isinstance(thing, Quantity):
        yield Entry(key, thing)
    elif isinstance(thing, OperatingPoint):
        step = Quantity(thing.clock_hz, "Hz", thing.tag, thing.source, thing.clock_hz, thing.clock_hz)
        yield Entry(key, step, thing.mode)
        yield from _walk(thing.volts, f"{key}.volts")
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from _walk(getattr(thing, field.name), f"{key}.{field.name}")
    elif isinstance(thing, Mapping):
        for name, item in thing.items():
            yield from _walk(item, f"{key}.{name}")
    elif isinstance(thing, tuple | list):
        for index, item in enumerate(thing):
            yield from _walk(item, f"{key}[{index}]")
