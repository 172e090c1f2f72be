"""Reading of an engine: peaks, clocks, its memory hierarchy, dispatch, energy and efficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from ...ir.diagnostics import did_you_mean
from ...ir.dtypes import DType
from ..hardware import ENGINE_KINDS, KERNEL_CLASSES, Engine, Kind, MemoryLevel, OperatingPoint, Quantity, Scope
from .energy import EnergyTable
from .errors import E_TARGET_ABSURD, E_TARGET_VALUE, problem
from .section import Section

DTYPES = tuple(dtype.short for dtype in DType if dtype.bits)
PROFILE_KEYS = ("efficiency", "memory_efficiency", "overlap", "energy_overhead")


@dataclass(frozen=True)
class Surroundings:
    """What an engine's description refers to.

    Attributes:
        energy: published energies by node.
        profiles: efficiencies by name of profile.
        process_nm: the node of the target's chip, None when not given.
    """

    energy: EnergyTable
    profiles: Mapping[str, Any]
    process_nm: float | None


def read_engine(name: str, section: Section, dram: MemoryLevel, shared: Mapping[str, MemoryLevel], surroundings: Surroundings) -> Engine:
    """One engine.

    Args:
        name: its key in the file.
        section: its table.
        dram: the target's memory, which becomes the last level.
        shared: levels that several engines share.
        surroundings: energies and profiles.
    """
    units, clock = section.integer("units"), section.quantity("clock", "Hz")
    process = section.maybe("process_nm", "1")
    if process is not None:
        surroundings = Surroundings(surroundings.energy, surroundings.profiles, process.value)
    peak = _peaks(section, "peak", units, clock)
    if not peak:
        raise section.error(E_TARGET_VALUE, "peak", "an engine needs the peak of one element type", "write peak.f32 = { value = …, … }")
    vector_peak = _peaks(section, "vector_peak", units, clock)
    mac_energy, op_energy = _arithmetic_energy(section, (*peak, *vector_peak), surroundings)
    profile = _profile(section, surroundings)
    overlap = section.maybe("overlap", "1") or (profile.maybe("overlap", "1") if profile is not None else None)
    if overlap is not None and overlap.value < 1:
        raise section.error(
            E_TARGET_ABSURD, "overlap", f"the overlap exponent is {overlap.value:g}", "1 adds times, 100 takes the greater one"
        )
    efficiency = profile.mapping("efficiency", (*KERNEL_CLASSES, "default"), "1") if profile is not None else {}
    efficiency |= section.mapping("efficiency", (*KERNEL_CLASSES, "default"), "1")
    engine = Engine(
        name=name,
        kind=cast(Kind, section.text("kind", choices=ENGINE_KINDS)),
        units=units,
        clock_hz=clock,
        peak=peak,
        memory=_hierarchy(section, clock, dram, shared, surroundings),
        dispatch_s=section.quantity("dispatch", "s"),
        run_s=section.quantity("run", "s"),
        vector_peak=vector_peak,
        vector_bytes=section.integer("vector_bytes", 0, least=0, most=4096),
        array=section.pair("array"),
        tile=section.pair("tile"),
        core_points=_points(section, "core_points"),
        memory_points=_points(section, "memory_points"),
        mac_energy=mac_energy,
        op_energy=op_energy,
        energy_overhead=section.maybe("energy_overhead", "1") or (profile.maybe("energy_overhead", "1") if profile is not None else None),
        leakage_w=section.maybe("leakage", "W"),
        efficiency=efficiency,
        memory_efficiency=section.maybe("memory_efficiency", "1")
        or (profile.maybe("memory_efficiency", "1") if profile is not None else None),
        note=section.text("note", ""),
        source=section.cite("source", section.text("source")),
        switch_s=section.maybe("switch", "s"),
        memory_switch_s=section.maybe("memory_switch", "s"),
        **({"overlap": overlap.value, "overlap_range": overlap} if overlap is not None else {}),
    )
    section.finish()
    return engine


def read_level(
    name: str,
    section: Section,
    scope: Scope | None,
    clock: Quantity | None,
    surroundings: Surroundings,
    energy: Quantity | None = None,
) -> MemoryLevel:
    """One memory level.

    Args:
        name: its key.
        section: its table; the caller finishes it when further keys are to be read.
        scope: fixed scope, None when the table says it.
        clock: the engine's clock, to which a bandwidth in bytes per cycle refers; None when there is none.
        surroundings: energies.
        energy: the energy of this kind of memory, used when the table gives none.
    """
    chosen = scope if scope is not None else cast(Scope, section.text("scope", choices=get_args(Scope)))
    size = section.quantity("bytes", "B")
    if energy is None and surroundings.process_nm is not None:
        energy = surroundings.energy.on_chip(size.value, surroundings.process_nm)
    return MemoryLevel(
        name=name,
        bytes=size,
        bandwidth=_rate(section, "bandwidth", clock),
        energy=section.maybe("energy", "J/B") or energy,
        scope=chosen,
        unit_bandwidth=_rate(section, "unit_bandwidth", clock) if "unit_bandwidth" in section.table else None,
        line_bytes=section.integer("line_bytes", 64, most=4096),
    )


def _rate(section: Section, name: str, clock: Quantity | None) -> Quantity:
    if clock is None:
        return section.quantity(name, "B/s")
    found = section.quantity(name, "B/s", "B/cycle")
    return _per_cycle(found, "B/s", 1, clock) if found.unit == "B/cycle" else found


def _per_cycle(found: Quantity, unit: str, units: int, clock: Quantity) -> Quantity:
    """A rate per cycle times the clock and the number of units; the interval of the clock widens that of the result."""
    source = f"{found.value:g} {found.unit} at {clock.value / 1e6:g} MHz{f' in {units} units' if units > 1 else ''}: {found.source}"
    low, high = found.low * units * clock.low, found.high * units * clock.high
    return Quantity(found.value * units * clock.value, unit, found.tag, source, low, high)


def _peaks(section: Section, name: str, units: int, clock: Quantity) -> dict[str, Quantity]:
    """Operations per second by element type; what is given per cycle and unit is multiplied out."""
    found = section.mapping(name, DTYPES, "ops/s", "op/cycle")
    return {
        dtype: _per_cycle(quantity, "ops/s", units, clock) if quantity.unit == "op/cycle" else quantity for dtype, quantity in found.items()
    }


def _hierarchy(
    section: Section, clock: Quantity, dram: MemoryLevel, shared: Mapping[str, MemoryLevel], surroundings: Surroundings
) -> tuple[MemoryLevel, ...]:
    levels: list[MemoryLevel] = []
    own = section.section("memory")
    for name, inner in (own.sections() if own is not None else {}).items():
        levels.append(read_level(name, inner, None, clock, surroundings))
        inner.finish()
    for name in section.texts("shares"):
        if name not in shared:
            hint = did_you_mean(name, list(shared)) or f"describe it in a table [memory.{name}]"
            raise section.error(E_TARGET_VALUE, "shares", f"the target has no memory '{name}'", hint)
        levels.append(shared[name])
    reach = section.maybe("dram_bandwidth", "B/s")
    if reach is not None:
        dram = MemoryLevel(dram.name, dram.bytes, reach, dram.energy, "target", dram.unit_bandwidth, dram.line_bytes)
    single = section.maybe("dram_unit_bandwidth", "B/s")
    if single is not None:
        dram = MemoryLevel(dram.name, dram.bytes, dram.bandwidth, dram.energy, "target", single, dram.line_bytes)
    return (*levels, dram)


def _arithmetic_energy(
    section: Section, dtypes: tuple[str, ...], surroundings: Surroundings
) -> tuple[dict[str, Quantity], dict[str, Quantity]]:
    """Energies that the file gives, and those of the process node for the other element types of the engine."""
    mac, operation = section.mapping("mac_energy", DTYPES, "J"), section.mapping("op_energy", DTYPES, "J")
    node = surroundings.process_nm
    if node is not None:
        for dtype in dict.fromkeys(dtypes):
            for table, found in ((mac, surroundings.energy.mac(dtype, node)), (operation, surroundings.energy.operation(dtype, node))):
                if found is not None:
                    table.setdefault(dtype, found)
    return mac, operation


def _profile(section: Section, surroundings: Surroundings) -> Section | None:
    name = section.text("profile", "")
    if not name:
        return None
    if name not in surroundings.profiles:
        raise section.error(E_TARGET_VALUE, "profile", f"there is no profile '{name}'", did_you_mean(name, sorted(surroundings.profiles)))
    found = Section(surroundings.profiles[name], "_profiles.toml", name, section.sources)
    for key in found.table:
        if key not in PROFILE_KEYS:
            raise problem(
                E_TARGET_VALUE, "_profiles.toml", f"{name}.{key}", f"a profile has no '{key}'", did_you_mean(key, list(PROFILE_KEYS))
            )
    return found


def _points(section: Section, name: str) -> tuple[OperatingPoint, ...]:
    """Operating points: a unit, a tag and a source for all clocks; voltages and the modes that choose a clock where they are known."""
    inner = section.section(name)
    if inner is None:
        return ()
    unit = inner.text("unit", choices=["MHz", "GHz", "kHz", "Hz"])
    tag, source = inner.text("tag"), inner.text("source")
    clocks, modes = inner.get("clocks"), inner.get("modes") or {}
    hint = "write clocks = [306, 408, 510], the slowest first"
    if not isinstance(clocks, list) or not clocks or clocks != sorted(set(clocks)):
        raise inner.error(E_TARGET_VALUE, "clocks", "'clocks' must be a list of rising numbers", hint)
    if not isinstance(modes, dict) or any(clock not in clocks for clock in modes.values()):
        raise inner.error(E_TARGET_VALUE, "modes", "'modes' must map names of modes to clocks of the list", 'write modes = { "15W" = 625 }')
    volts = inner.section("volts")
    voltages: list[Any] = volts.get("values") if volts is not None else [None] * len(clocks)
    if not isinstance(voltages, list) or len(voltages) != len(clocks):
        raise inner.error(
            E_TARGET_VALUE, "volts", "there must be one voltage a clock", "write volts = { values = […], tag = …, source = … }"
        )
    about = {key: volts.get(key) for key in ("tag", "source", "spread") if volts is not None and key in volts.table}
    numbers = {"clock": {"unit": unit, "tag": tag, "source": source, "spread": 0}, "volts": {"unit": "V", **about}}
    points = []
    for index, (clock, voltage) in enumerate(zip(clocks, voltages, strict=True)):
        rows = {f"clocks[{index}]": {**numbers["clock"], "value": clock}}
        if voltage is not None:
            rows[f"volts[{index}]"] = {**numbers["volts"], "value": voltage}
        row = Section(rows, inner.file, inner.key, inner.sources)
        mode = "/".join(sorted(m for m, chosen in modes.items() if chosen == clock))
        step = row.quantity(f"clocks[{index}]", "Hz")
        points.append(OperatingPoint(step.value, row.maybe(f"volts[{index}]", "V"), mode, step.tag, step.source))
    if volts is not None:
        volts.finish()
    inner.finish()
    return tuple(points)
