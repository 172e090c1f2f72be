"""Timing of short work on a machine that does other things too: minima of many short batches, on the clock that suits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Clock = Literal["thread", "wall"]
BATCH_S = 4e-4  # batches this short often fall between two interruptions
AGREEING = 5  # batches within `TOLERANCE` of the minimum, after which the minimum is believed
TOLERANCE = 0.01


@dataclass(frozen=True)
class Timing:
    """Seconds of one run.

    Attributes:
        seconds: the minimum of all batches.
        median: of all batches.
        batches: how many batches were timed.
        runs: how many runs were in one batch.
    """

    seconds: float
    median: float
    batches: int
    runs: int

    def merged(self, other: Timing) -> Timing:
        """The better of two measurements of the same work."""
        least = min(self, other, key=lambda t: t.seconds)
        return Timing(least.seconds, min(self.median, other.median), self.batches + other.batches, least.runs)


def clock_of(threads: int) -> Clock:
    """CPU time of the calling thread when all work is done there, else the time that passes."""
    return "thread" if threads == 1 else "wall"


def measure(run: Callable[[], object], clock: Clock = "wall", budget_s: float = 0.3, warm_up: int = 2, least: int = 4) -> Timing:
    """Time a callable.

    Args:
        run: what is timed; its result is dropped.
        clock: ``thread`` leaves out what other programs take from the processor, ``wall`` counts it.
        budget_s: batches are timed until so much time has passed, or until several agree with the minimum.
        warm_up: runs before the first batch.
        least: batches that are timed at any rate (fewer when three of them exceed the budget five times).
    """
    now = time.thread_time_ns if clock == "thread" else time.perf_counter_ns
    for _ in range(warm_up):
        run()
    started = time.perf_counter()
    begin = now()
    run()
    first = max(now() - begin, 1) * 1e-9
    runs = max(1, min(int(BATCH_S / first), 1000))
    found: list[float] = []
    while True:
        begin = now()
        for _ in range(runs):
            run()
        found.append((now() - begin) * 1e-9 / runs)
        passed = time.perf_counter() - started
        if len(found) >= 3 and passed > 5 * budget_s:
            break
        if len(found) < least:
            continue
        if passed > budget_s:
            break
        minimum = min(found)
        if passed > budget_s / 3 and sum(t <= minimum * (1 + TOLERANCE) for t in found) >= AGREEING:
            break
    ordered = sorted(found)
    return Timing(ordered[0], ordered[len(ordered) // 2], len(found), runs)
