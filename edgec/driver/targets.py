"""`edgec targets`: the backends, the hardware that the cost model knows, and every number of one piece of hardware with its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..costmodel.hardware import Engine, Quantity
from .arguments import usage_error
from .console import emit, table
from .listing import list_targets

SHOW = "show"
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))
PREFIXED = ("B", "B/s", "ops/s", "Hz", "s", "J", "J/B", "W", "V")
KELVIN = 273.15


def targets(words: Sequence[str], plugins: Sequence[str], as_json: bool) -> None:
    """What ``edgec targets [NAME]`` and ``edgec targets show HARDWARE`` print.

    Args:
        words: nothing, the name of a backend or of hardware, or ``show`` and the name or file of hardware.
        plugins: modules that may add backends.
        as_json: print JSON.
    """
    if words and words[0] == SHOW:
        if len(words) != 2:
            raise usage_error(
                "`edgec targets show` needs one name", "show", "write edgec targets show orin-nano; `edgec targets` lists the names"
            )
        show_hardware(words[1], as_json)
    elif len(words) > 1:
        raise usage_error(f"too many names: {' '.join(words)}", "targets", "write edgec targets NAME, or edgec targets show HARDWARE")
    elif words and _is_hardware(words[0]):
        show_hardware(words[0], as_json)
    else:
        list_targets(words[0] if words else None, plugins, as_json, None if words else hardware_facts())


def hardware_facts() -> list[dict[str, Any]]:
    """The hardware that the cost model knows, one line each."""
    from ..costmodel.targets import load_target, target_names

    return [
        {
            "name": target.name,
            "title": target.title,
            "kind": target.kind,
            "engines": [engine.name for engine in target.engines],
            "file": Path(target.path).name,
        }
        for target in map(load_target, target_names())
    ]


def show_hardware(name: str, as_json: bool) -> None:
    """Every number of a piece of hardware with unit, interval, tag and source."""
    from ..costmodel.targets import load_target
    from ..costmodel.targets.listing import entries

    target = load_target(name)
    found = entries(target)
    facts = {
        "schema": "edgec.hardware/1",
        "ok": True,
        "name": target.name,
        "title": target.title,
        "kind": target.kind,
        "default_engine": target.default_engine,
        "engines": [_structure(engine) for engine in target.engines],
        "numbers": [entry.to_json() for entry in found],
        "notes": list(target.notes),
    }
    sources = {text: number for number, text in enumerate(dict.fromkeys(e.quantity.source for e in found), 1)}
    rows = [(e.key, readable(e.quantity), interval(e.quantity), e.quantity.tag, f"[{sources[e.quantity.source]}]", e.remark) for e in found]
    parts = [f"{target.name}: {target.title} ({target.kind}; {target.default_engine} runs models unless another engine is asked for)"]
    parts += [_describe(engine) for engine in target.engines]
    parts.append(table(("number", "value", "interval", "tag", "source", ""), rows, right=(1,)))
    parts.append("sources:\n" + "\n".join(f"  [{number}] {text}" for text, number in sources.items()))
    parts += [f"note: {note}" for note in target.notes]
    emit(facts, as_json, "\n\n".join(parts))


def readable(quantity: Quantity) -> str:
    """A number with a prefix, temperatures in degrees Celsius.

    >>> readable(Quantity(20.48e12, "ops/s", "computed", "clock", 0, 0)), readable(Quantity(353.15, "K", "datasheet", "ds", 0, 0))
    ('20.48 Tops/s', '80 degC')
    """
    return _scaled(quantity.value, quantity.unit)


def interval(quantity: Quantity) -> str:
    """The interval of a number; nothing when the number is exact."""
    if quantity.low == quantity.high:
        return ""
    return f"{_scaled(quantity.low, quantity.unit)} to {_scaled(quantity.high, quantity.unit)}"


def _scaled(value: float, unit: str) -> str:
    if unit == "K":
        return f"{value - KELVIN:.4g} degC"
    if unit in PREFIXED and value:
        factor, prefix = next(((f, p) for f, p in PREFIXES if abs(value) >= f), PREFIXES[-1])
        return f"{value / factor:.4g} {prefix}{unit}" if abs(value / factor) < 9999.5 else f"{value:.3g} {unit}"
    return f"{value:.4g}" if unit == "1" else f"{value:.4g} {unit}"


def _structure(engine: Engine) -> dict[str, Any]:
    """The counts of an engine, which its one source covers."""
    return {
        "name": engine.name,
        "kind": engine.kind,
        "units": engine.units,
        "vector_bytes": engine.vector_bytes,
        "array": list(engine.array) if engine.array else None,
        "tile": list(engine.tile) if engine.tile else None,
        "memory": [{"name": level.name, "scope": level.scope, "line_bytes": level.line_bytes} for level in engine.memory],
        "source": engine.source,
        "note": engine.note,
    }


def _describe(engine: Engine) -> str:
    words = [f"{engine.units} unit{'s' if engine.units > 1 else ''}"]
    words += [f"{engine.vector_bytes}-byte vectors"] if engine.vector_bytes else []
    words += [f"array of {engine.array[0]} by {engine.array[1]}"] if engine.array else []
    words += [f"tiles of {engine.tile[0]} by {engine.tile[1]}"] if engine.tile else []
    words.append("memory " + ", ".join(f"{level.name} ({level.scope})" for level in engine.memory))
    text = f"engine {engine.name} ({engine.kind}): {'; '.join(words)}\n  source: {engine.source}"
    return text + (f"\n  note: {engine.note}" if engine.note else "")


def _is_hardware(name: str) -> bool:
    """Whether a name is that of hardware and not of a backend."""
    from ..costmodel.targets import target_names
    from ..lowering.registry import backend_names

    return name.endswith(".toml") or (name in target_names() and name not in backend_names())
