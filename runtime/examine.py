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


@dataclass
class _Experiment:
    """Work beside references, timed with and without disturbances.

    Attributes:
        works: what is examined, by name.
        references: `STREAM` and `STEADY`.
        placement: cores of the work and of the background traffic.
        threads: of the work.
        cycles: alternations of calm and disturbance.
        step: told about the progress.
        found: what the experiment tells.
    """

    works: Mapping[Hashable, Run]
    references: Mapping[str, Run]
    placement: Placement
    threads: int
    cycles: int
    step: Step | None
    found: Examination = field(default_factory=Examination)

    def pressed(self) -> dict[Hashable, float]:
        """Slowdowns of the works by background traffic; empty where it is not possible or has no effect."""
        reasons, press = self.found.reasons, self.placement.press
        if not press:
            reasons[PRESSURE] = self.placement.reason
            return {}
        try:
            with Pressure(press, stream_bytes()) as pressure:
                ratios = self._ratios(lambda: _on(pressure))
        except OSError as error:
            reasons[PRESSURE] = f"background traffic did not start: {error}"
            return {}
        slowdown = Slowdown(1.0, ratios[STREAM], ratios[STEADY])
        self._note(PRESSURE, ratios, cores=float(len(press)))
        if not slowdown.tells:
            reasons[PRESSURE] = f"background traffic makes a pure stream only {ratios[STREAM] / ratios[STEADY]:.2f} times as long"
            return {}
        return self._of_works(PRESSURE, ratios)

    def clocked(self) -> dict[Hashable, float]:
        """Slowdowns of the works by a lower core clock; empty where it cannot be set or has no effect."""
        reasons = self.found.reasons
        clock, reason = core_clock(self.placement.work)
        if clock is None:
            reasons[CLOCK] = reason
            return {}
        try:
            ratios = self._ratios(lambda: _slower(clock))
        except OSError as error:
            reasons[CLOCK] = f"the clock could not be set: {error}"
            return {}
        self._note(CLOCK, ratios, low_hz=_low(clock), high_hz=clock.high)
        if not Slowdown(1.0, ratios[STEADY]).tells:
            reasons[CLOCK] = f"the lower clock makes arithmetic only {ratios[STEADY]:.2f} times as long: the setting has no effect"
            return {}
        return self._of_works(CLOCK, ratios)

    def _note(self, method: str, ratios: Mapping[Hashable, float], **more: float) -> None:
        self.found.facts[method] = {"stream": ratios[STREAM], "registers": ratios[STEADY], **more}

    def _of_works(self, method: str, ratios: Mapping[Hashable, float]) -> dict[Hashable, float]:
        self.found.methods.append(method)
        return {key: ratios[key] for key in self.works}

    def _ratios(self, disturbance: Callable[[], AbstractContextManager[object]]) -> dict[Hashable, float]:
        """Median seconds with the disturbance over those without, alternating."""
        runs: dict[Hashable, Run] = {**self.works, **self.references}
        calm: dict[Hashable, list[float]] = {name: [] for name in runs}
        disturbed: dict[Hashable, list[float]] = {name: [] for name in runs}

        def timed(into: dict[Hashable, list[float]]) -> None:
            clock = clock_of(self.threads)
            for name, rounds in interleave(runs, clock, rounds=ROUNDS, budget_s=BUDGET_S, warm_up=1, step=self.step).items():
                into[name] += [t.median for t in rounds.timings]

        for _ in range(self.cycles):
            timed(calm)
            with disturbance():
                timed(disturbed)
        return {name: median(disturbed[name]) / median(calm[name]) for name in runs}


def examine(works: Mapping[Key, Run], placement: Placement, threads: int, *, cycles: int = CYCLES, step: Step | None = None) -> Examination:
    """Slow the memory down, and the core where the system allows it, and see how far every work follows.

    Args:
        works: what is examined, by name; already on the cores of the placement.
        placement: cores of the work and of the background traffic.
        threads: of the work.
        cycles: alternations of calm and disturbance.
        step: told about the progress.
    """
    memory: dict[Hashable, float | None] = {}
    core: dict[Hashable, float | None] = {}
    with ExitStack() as stack:
        references = {STREAM: _stream(threads, stack), STEADY: _steady()}
        experiment = _Experiment({**works}, references, placement, threads, cycles, step)
        found = experiment.found
        for name, ratio in experiment.pressed().items():
            memory[name] = Slowdown(ratio, found.facts[PRESSURE]["stream"], found.facts[PRESSURE]["registers"]).share
        for name, ratio in experiment.clocked().items():
            core[name] = Slowdown(ratio, found.facts[CLOCK]["registers"]).share
    found.shares = {name: Share(memory.get(name), core.get(name)) for name in works}
    return found


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
