"""Target files: finding them by name, inheriting, and strict reading into `edgec.costmodel.hardware.Target`.

The format is described in docs/targets.md. A file that loads has every number with its unit, tag, source and interval, no key that
nothing reads, and no number that contradicts physics or another one of the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...ir.diagnostics import did_you_mean
from ..hardware import Engine, MemoryLevel, Power, Quantity, Target, Thermal
from .checks import check_target
from .energy import EnergyTable
from .engine import Surroundings, read_engine, read_level
from .errors import E_TARGET_FILE, E_TARGET_VALUE, E_UNKNOWN_TARGET, problem
from .section import Section

FOLDER = Path(__file__).parent
USER_FOLDER = "EDGEC_TARGETS"  # the environment variable
SUFFIX = ".toml"
WHOLE = ("modes",)  # tables that an heir replaces as a whole
OTHER_MEMORY = ("sram", "flash", "link")  # last levels whose energy a file gives itself
KINDS = ("board", "phone", "laptop", "server", "accelerator", "microcontroller")


def target_names() -> tuple[str, ...]:
    """The names of all targets: the built-in ones and those of the user's folder."""
    return tuple(sorted(_files()))


def load_target(name: str | os.PathLike[str]) -> Target:
    """A target by its name, or by the path of a TOML file.

    Args:
        name: a name that `target_names` lists, or a path that ends in ``.toml``.

    Raises:
        Diagnostic: E1001 when there is no such target, E1002 to E1006 when its file is wrong.

    >>> load_target("rtx-4090").engines[0].units
    128
    """
    text = os.fspath(name)
    path = Path(text)
    if path.suffix != SUFFIX:
        files = _files()
        if text not in files:
            hint = did_you_mean(text, sorted(files))
            raise problem(E_UNKNOWN_TARGET, text, "", f"there is no target '{text}'", f"{hint} (or give a path that ends in {SUFFIX})")
        path = files[text]
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _load(path, stamp)


@cache
def _load(path: Path, _: int) -> Target:
    return read_target(_merged(path, ()), path)


def read_target(table: Mapping[str, Any], path: Path) -> Target:
    """A target from plain data.

    Args:
        table: what a target file contains.
        path: where it comes from; the target's name is the file's name without suffix.
    """
    file, name = path.name, path.stem
    common, database, profiles = _common()
    root = Section(table, file, "", {**common, **_sources(table.get("sources"), file)})
    root.get("sources")
    process = root.maybe("process_nm", "1")
    surroundings = Surroundings(database, profiles, process.value if process is not None else None)
    dram = _dram(root, surroundings)
    shared = _shared(root, surroundings)
    engines = _engines(root, dram, shared, surroundings)
    target = Target(
        name=name,
        title=root.text("title"),
        kind=root.text("kind", choices=KINDS),
        engines=engines,
        default_engine=root.text("default_engine", choices=[engine.name for engine in engines]),
        dram=dram,
        power=_power(root.section("power")),
        thermal=_thermal(root.section("thermal")),
        path=str(path),
        notes=root.texts("notes"),
    )
    root.finish()
    check_target(target, file)
    return target


# -- files -------------------------------------------------------------------------------------------------------------
def _files() -> dict[str, Path]:
    """All target files by name; a file of the user's folder replaces a built-in one of the same name."""
    folders = [FOLDER]
    given = os.environ.get(USER_FOLDER)
    if given:
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise problem(E_TARGET_FILE, given, "", f"{USER_FOLDER} names no folder", "create it, or unset the variable")
        folders.append(folder)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*" + SUFFIX)) if not path.stem.startswith("_")}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise problem(E_TARGET_FILE, str(path), "", f"cannot read the file: {error.strerror}", "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise problem(E_TARGET_FILE, str(path), "", f"the file is not TOML: {error}", "docs/targets.md shows the format") from error


def _merged(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """A file's data over those of the target that it inherits from."""
    table = _toml(path)
    if "inherits" not in table:
        return table
    parent = table.pop("inherits")
    files = _files()
    if not isinstance(parent, str) or (parent not in files and not (path.parent / parent).is_file()):
        hint = did_you_mean(str(parent), sorted(files))
        raise problem(E_UNKNOWN_TARGET, path.name, "inherits", f"there is no target '{parent}' to inherit from", hint)
    origin = files.get(parent, path.parent / parent)
    if origin.resolve() in {child.resolve() for child in (*children, path)}:
        raise problem(E_TARGET_FILE, path.name, "inherits", f"'{parent}' inherits from this file", "break the circle")
    return _overlay(_merged(origin, (*children, path)), table)


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged; everything else, and a number as a whole, is replaced. A false value removes a key."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if value is False:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(old, dict) and "value" not in value and key not in WHOLE:
            result[key] = _overlay(old, value)
        else:
            result[key] = value
    return result


@cache
def _common() -> tuple[dict[str, str], EnergyTable, dict[str, Any]]:
    """What all target files share: sources, the energy table and the efficiency profiles."""
    sources = _sources(_toml(FOLDER / "_sources.toml"), "_sources.toml")
    energy = EnergyTable.read(Section(_toml(FOLDER / "_energy.toml"), "_energy.toml", "", sources))
    return sources, energy, _toml(FOLDER / "_profiles.toml")


def _sources(table: Any, file: str) -> dict[str, str]:
    if table is None:
        return {}
    if not isinstance(table, dict) or not all(isinstance(text, str) and len(text) > 8 for text in table.values()):
        raise problem(
            E_TARGET_VALUE, file, "sources", "'sources' must map short keys to citations", 'write [sources] ds = "Vendor, title, URL"'
        )
    return dict(table)


# -- parts of a target -------------------------------------------------------------------------------------------------
def _dram(root: Section, surroundings: Surroundings) -> MemoryLevel:
    section = root.section("dram", required=True)
    assert section is not None
    kind = section.text("type", choices=[*surroundings.energy.dram, *OTHER_MEMORY])
    energy = section.maybe("energy", "J/B") or surroundings.energy.dram.get(kind)
    level = read_level("DRAM" if kind not in OTHER_MEMORY else kind, section, "target", None, surroundings, energy)
    section.finish()
    return level


def _shared(root: Section, surroundings: Surroundings) -> dict[str, MemoryLevel]:
    section = root.section("memory")
    levels: dict[str, MemoryLevel] = {}
    for name, inner in (section.sections() if section is not None else {}).items():
        levels[name] = read_level(name, inner, "target", None, surroundings)
        inner.finish()
    return levels


def _engines(root: Section, dram: MemoryLevel, shared: Mapping[str, MemoryLevel], surroundings: Surroundings) -> tuple[Engine, ...]:
    section = root.section("engines", required=True)
    assert section is not None
    found = section.sections()
    if not found:
        raise root.error(E_TARGET_VALUE, "engines", "a target needs an engine", "write a table such as [engines.cpu]")
    return tuple(read_engine(name, inner, dram, shared, surroundings) for name, inner in found.items())


def _power(section: Section | None) -> Power | None:
    if section is None:
        return None
    power = Power(section.quantity("idle", "W"), section.quantity("floor", "W"), section.maybe("limit", "W"))
    section.finish()
    return power


def _thermal(section: Section | None) -> Thermal | None:
    if section is None:
        return None
    resistance, capacity = section.quantities("resistance", "K/W"), section.quantities("capacity", "J/K")
    if len(resistance) != len(capacity):
        hint = "one resistance and one capacity a stage"
        raise section.error(E_TARGET_VALUE, "capacity", f"{len(resistance)} resistances but {len(capacity)} capacities", hint)
    ambient: Quantity | None = section.maybe("ambient", "K")
    limit = section.quantity("limit", "K")
    thermal = Thermal(resistance, capacity, limit, ambient.value) if ambient is not None else Thermal(resistance, capacity, limit)
    section.finish()
    return thermal
