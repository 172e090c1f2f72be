"""The machine that calibration runs on, as a target: its caches as the system names them, rates as measured."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware import Engine, MemoryLevel, Quantity, Target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
PAGE_REACH = 128  # bytes per byte of the cache before the last: half of it holds the entries of so much memory, 16 bytes for 4 KiB
PAGE_SOURCE = "memory whose page-table entries (8 bytes for 4 KiB, twice under a hypervisor) fill half of the cache before the last"
_FALLBACK = (("L1", 32 << 10, "unit"), ("L2", 512 << 10, "unit"), ("L3", 8 << 20, "engine"))


def processor_name() -> str:
    """The processor as the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def vector_bytes() -> int:
    """The width of a SIMD register."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return 64 if "avx512f" in flags else 32 if "avx2" in flags else 16


def caches() -> list[tuple[str, int, str, str]]:
    """Data caches from the nearest to the farthest: name, bytes, ``unit`` or ``engine``, source."""
    found: list[tuple[str, int, str, str]] = []
    for folder in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            shared = (folder / "shared_cpu_list").read_text().strip()
        except OSError:
            continue
        if kind in ("Data", "Unified") and size.endswith("K"):
            alone = "," not in shared and "-" not in shared and (os.cpu_count() or 1) > 1
            found.append((f"L{level}", int(size[:-1]) << 10, "unit" if alone else "engine", str(folder)))
    return found or [(name, size, scope, "assumed: the system does not say") for name, size, scope in _FALLBACK]


SHARES = (
    1.0,
    0.9,
    0.8,
    0.75,
    0.7,
    0.65,
    0.6,
    0.5,
    0.4,
    0.3,
    0.2,
)  # of the last cache that this machine may really have: others can share it


def with_share(target: Target, share: float) -> Target:
    """The machine with a part of its last cache."""
    engine = target.engines[0]
    position = len(caches()) - 1
    if position < 1 or share == 1.0:
        return target
    last = engine.memory[position]
    size = last.bytes
    source = f"{share:.0%} of {size.source}: what fits the measurements best"
    part = Quantity(size.value * share, "B", "measured", source, size.value * share * 0.7, size.value)
    memory = (*engine.memory[:position], replace(last, bytes=part), *engine.memory[position + 1 :])
    return replace(target, engines=(replace(engine, memory=memory),))


def host_target(threads: int, dispatch_s: float, run_s: float, peak: dict[str, float] | None = None, name: str = "host") -> Target:
    """This machine as a target with one engine.

    Args:
        threads: how many cores work.
        dispatch_s: seconds to launch a kernel.
        run_s: seconds to start an inference.
        peak: the greatest rates that were measured, operations per second by element type.
        name: of the target.
    """
    found = caches()
    memory = [_level(cache, threads) for cache in found]
    total = _memory_bytes()
    rate = _quantity(copy_rate(max(64 << 20, 3 * found[-1][1])), "B/s", "copies of arrays by numpy, reads and writes counted")
    dram = MemoryLevel("DRAM", _quantity(total, "B", "the system's figure", "datasheet"), rate, scope="target")
    reach = found[max(len(found) - 2, 0)][1] * PAGE_REACH
    if len(found) > 1 and found[-1][1] < reach < total:
        memory.append(MemoryLevel("TLB", _quantity(reach, "B", PAGE_SOURCE, "estimate"), rate))
    rates = {
        key: _quantity(value, "ops/s", "the fastest kernel that calibration measured") for key, value in (peak or {"f32": 5e10}).items()
    }
    engine = Engine(
        "cpu",
        "cpu",
        threads,
        _quantity(clock_hz(), "Hz", "/proc/cpuinfo", "datasheet"),
        rates,
        (*memory, dram),
        _quantity(max(dispatch_s, 1e-9), "s", "fit of calibration"),
        _quantity(max(run_s, 1e-9), "s", "fit of calibration"),
        vector_bytes=vector_bytes(),
        source="calibration on this machine",
    )
    return Target(name, f"{processor_name()}, {threads} threads", "server", (engine,), "cpu", dram)


def _level(cache: tuple[str, int, str, str], threads: int) -> MemoryLevel:
    name, size, scope, source = cache
    rate = copy_rate(size // 3)
    bandwidth = _quantity(rate, "B/s", "copies of arrays by numpy, reads and writes counted")
    capacity = _quantity(size, "B", source, "datasheet")
    if scope == "unit":
        return MemoryLevel(name, capacity, bandwidth, scope="unit")
    return MemoryLevel(name, capacity, bandwidth.scaled(threads), scope="engine", unit_bandwidth=bandwidth)


def copy_rate(size: int, repeats: int = 7) -> float:
    """Bytes read and written per second while arrays of this many bytes in all are copied again and again."""
    half = max(size // 2 // 4, 256)
    source, target = np.ones(half, np.float32), np.empty(half, np.float32)
    rounds = max(1, int(2e-4 / (half * 8 / 2e10)))
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(rounds):
            np.copyto(target, source)
        best = min(best, (time.perf_counter() - begin) / rounds)
    return 2 * half * 4 / best


def clock_hz() -> float:
    """The clock as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("cpu mhz"):
                return float(line.partition(":")[2]) * 1e6
    except (OSError, ValueError):
        pass
    return 2e9


def _memory_bytes() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 8e9


def _quantity(value: float, unit: str, source: str, tag: Any = "measured") -> Quantity:
    margin = 1.0 if tag == "datasheet" else 1.1
    return Quantity(float(value), unit, tag, source, value / margin, value * margin)
