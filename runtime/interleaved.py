"""Several pieces of work timed in turn, round after round: what the machine does meanwhile meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, TypeVar

import numpy as np

from .measure import Clock, Timing, measure

Key = TypeVar("Key", bound=Hashable)
Step = Callable[[int, int, Any], object]


@dataclass(frozen=True)
class Rounds:
    """Timings of one piece of work, one a round.

    Attributes:
        timings: in the order of the rounds.
    """

    timings: tuple[Timing, ...]

    @property
    def least(self) -> float:
        """The least seconds of all rounds."""
        return min(t.seconds for t in self.timings)

    @property
    def median(self) -> float:
        """The median over the rounds of their medians, seconds."""
        return median(t.median for t in self.timings)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper quartile of the rounds' medians, seconds."""
        values = [t.median for t in self.timings]
        if len(values) < 2:
            return values[0], values[0]
        low, _, high = quantiles(values, n=4, method="inclusive")
        return low, high


def interleave(
    runs: Mapping[Key, Callable[[], object]],
    clock: Clock,
    *,
    rounds: int = 5,
    budget_s: float = 0.1,
    warm_up: int = 2,
    step: Step | None = None,
) -> dict[Key, Rounds]:
    """Time callables in turn, in another order every round.

    Args:
        runs: what is timed, by name.
        clock: see `measure.measure`.
        rounds: how often each is timed.
        budget_s: seconds for one in one round.
        warm_up: runs before each timing.
        step: called with timings done, timings in all, and what comes next.
    """
    found: dict[Key, list[Timing]] = {name: [] for name in runs}
    names = list(runs)
    done = 0
    for number in range(rounds):
        for index in np.random.default_rng(number).permutation(len(names)).tolist():
            name = names[index]
            if step is not None:
                step(done, rounds * len(names), name)
            found[name].append(measure(runs[name], clock, budget_s, warm_up))
            done += 1
    return {name: Rounds(tuple(timings)) for name, timings in found.items()}
