"""What bounds work on this machine: it is timed while something is disturbed, beside references that follow or ignore the disturbance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

import numpy as np

from ..costmodel.analysis.experiment import Slowdown
from ..costmodel.calibration.host import caches
from .core_clock import CoreClock, core_clock
from .interleaved import Step, interleave
from .measure import clock_of
from .pressure import Placement, Pressure

Key = TypeVar("Key", bound=Hashable)
Run = Callable[[], object]
STREAM_BYTES = 96 << 20  # of the arrays of a stream at least
TIMES_CACHE = 4  # and so many times the last cache
CYCLES, ROUNDS, BUDGET_S = 2, 3, 0.06  # alternations of calm and disturbance, rounds in each, seconds of a timing
PRESSURE, CLOCK = "memory_pressure", "core_clock"
STREAM, STEADY = "reference: stream", "reference: registers"


@dataclass(frozen=True)
class Share:
    """Shares of the time of work, from 0 to 1; None where the experiment was not possible or says nothing.

    Attributes:
        memory: that waits for the memory.
        core: that follows the core clock.
    """

    memory: float | None = None
    core: float | None = None


@dataclass
class Examination:
    """The outcome.

    Attributes:
        methods: `PRESSURE` and `CLOCK`, as far as they said something.
        reasons: why a method was not possible, or said nothing, by its name.
        facts: slowdowns of the references, by method: ``stream`` and ``registers``.
        shares: of every work.
    """

    methods: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, float]] = field(default_factory=dict)
    shares: dict[Hashable, Share] = field(default_factory=dict)


def examine(works: Mapping[Key, Run], placement: Placement, threads: int, *, cycles: int = CYCLES, step: Step | None = None) -> Examination:
    """Slow the memory down, and the core where the system allows it, and see how far every work follows.

    Args:
        works: what is examined, by name; already on the cores of the placement.
        placement: cores of the work and of the background traffic.
        threads: of the work.
        cycles: alternations of calm and disturbance.
        step: told about the progress.
    """
    found = Examination()
    memory: dict[Key, float | None] = {}
    core: dict[Key, float | None] = {}
    with ExitStack() as stack:
        references = {STREAM: _stream(threads, stack), STEADY: _steady()}
        slow = _pressed(works, references, placement, threads, found, cycles, step)
        for name, ratio in slow.items():
            memory[name] = Slowdown(ratio, found.facts[PRESSURE]["stream"], found.facts[PRESSURE]["registers"]).share
        slow = _clocked(works, references, placement, threads, found, cycles, step)
        for name, ratio in slow.items():
            core[name] = Slowdown(ratio, found.facts[CLOCK]["registers"]).share
    found.shares = {name: Share(memory.get(name), core.get(name)) for name in works}
    return found


def _pressed(
    works: Mapping[Key, Run],
    references: Mapping[str, Run],
    placement: Placement,
    threads: int,
    found: Examination,
    cycles: int,
    step: Step | None,
) -> dict[Key, float]:
    name = PRESSURE
    if not placement.press:
        found.reasons[name] = placement.reason
        return {}
    try:
        with Pressure(placement.press, stream_bytes()) as pressure:
            ratios = _ratios(works, references, lambda: _on(pressure), threads, cycles, step)
    except OSError as error:
        found.reasons[name] = f"background traffic did not start: {error}"
        return {}
    slowdown = Slowdown(1.0, ratios[STREAM], ratios[STEADY])
    found.facts[name] = {"stream": ratios[STREAM], "registers": ratios[STEADY], "cores": float(len(placement.press))}
    if not slowdown.tells:
        found.reasons[name] = f"background traffic makes a pure stream only {ratios[STREAM] / ratios[STEADY]:.2f} times as long"
        return {}
    found.methods.append(name)
    return {key: ratios[key] for key in works}


def _clocked(
    works: Mapping[Key, Run],
    references: Mapping[str, Run],
    placement: Placement,
    threads: int,
    found: Examination,
    cycles: int,
    step: Step | None,
) -> dict[Key, float]:
    name = CLOCK
    clock, reason = core_clock(placement.work)
    if clock is None:
        found.reasons[name] = reason
        return {}
    try:
        ratios = _ratios(works, references, lambda: _slower(clock), threads, cycles, step)
    except OSError as error:
        found.reasons[name] = f"the clock could not be set: {error}"
        return {}
    found.facts[name] = {"stream": ratios[STREAM], "registers": ratios[STEADY], "low_hz": _low(clock), "high_hz": clock.high}
    if not Slowdown(1.0, ratios[STEADY]).tells:
        found.reasons[name] = f"the lower clock makes arithmetic only {ratios[STEADY]:.2f} times as long: the setting has no effect"
        return {}
    found.methods.append(name)
    return {key: ratios[key] for key in works}


def _ratios(
    works: Mapping[Key, Run],
    references: Mapping[str, Run],
    disturbance: Callable[[], AbstractContextManager[object]],
    threads: int,
    cycles: int,
    step: Step | None,
) -> dict[Hashable, float]:
    """Median seconds with the disturbance over those without, alternating."""
    runs: dict[Hashable, Run] = {**works, **references}
    calm: dict[Hashable, list[float]] = {name: [] for name in runs}
    disturbed: dict[Hashable, list[float]] = {name: [] for name in runs}

    def timed(into: dict[Hashable, list[float]]) -> None:
        for name, rounds in interleave(runs, clock_of(threads), rounds=ROUNDS, budget_s=BUDGET_S, warm_up=1, step=step).items():
            into[name] += [t.median for t in rounds.timings]

    for _ in range(cycles):
        timed(calm)
        with disturbance():
            timed(disturbed)
    return {name: median(disturbed[name]) / median(calm[name]) for name in runs}


@contextmanager
def _on(pressure: Pressure) -> Iterator[None]:
    pressure.on()
    try:
        yield
    finally:
        pressure.off()


def _slower(clock: CoreClock) -> AbstractContextManager[None]:
    return clock.limited(_low(clock))


def _low(clock: CoreClock) -> float:
    """The clock to compare with, Hz: half of the greatest, where the cores go so low."""
    return max(clock.low, clock.high / 2)


# -- references --------------------------------------------------------------------------------------------------------
def stream_bytes() -> int:
    """Bytes of arrays that no cache of this machine holds."""
    return max(STREAM_BYTES, TIMES_CACHE * caches()[-1][1])


def _stream(threads: int, stack: ExitStack) -> Run:
    """A pure stream: c = a + b over arrays that no cache holds, one part a thread."""
    a, b, c = (np.ones(max(stream_bytes() // 12, 1), np.float32) for _ in range(3))
    if threads == 1:
        return lambda: np.add(a, b, out=c)
    pool = stack.enter_context(ThreadPoolExecutor(threads))
    limits = [len(a) * i // threads for i in range(threads + 1)]
    parts = [slice(low, high) for low, high in zip(limits, limits[1:], strict=False)]
    return lambda: list(pool.map(lambda part: np.add(a[part], b[part], out=c[part]), parts))


def _steady() -> Run:
    """Arithmetic on numbers that stay in the first cache."""
    x = np.linspace(0.1, 1.0, 1024)
    y = np.empty_like(x)

    def run() -> None:
        for _ in range(16):
            np.sin(x, out=y)

    return run
