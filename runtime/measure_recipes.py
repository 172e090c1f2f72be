"""Measurement of calibration's graphs: every graph in several rounds, in an order that differs from round to round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..costmodel.calibration.recipe import Material, Recipe, build
from ..costmodel.calibration.store import Store
from ..costmodel.schedule import Schedule
from ..ir.diagnostics import Diagnostic
from .measure import clock_of, measure
from .measure_subject import Subject


@dataclass(frozen=True)
class Sample:
    """A measured graph.

    Attributes:
        recipe: what it is.
        seconds: of one inference.
        schedule: the kernels that ran.
        bindings: values of its symbols.
        ends: inputs and outputs, whose binding takes time too.
        parts: seconds of its kernels by name, where the runtime counts them.
    """

    recipe: Recipe
    seconds: float
    schedule: Schedule
    bindings: dict[str, int]
    ends: int
    parts: Mapping[str, float] = field(default_factory=dict)


class Loader(Protocol):
    """What loads a graph into a runtime."""

    def __call__(self, material: Material, threads: int, level: str) -> Subject:
        """The loaded graph; `Diagnostic` when the runtime refuses it."""
        ...


@dataclass
class Collection:
    """What became of all recipes.

    Attributes:
        samples: the measured ones.
        refused: graphs that the runtime or the reader did not take, with the reason.
    """

    samples: list[Sample]
    refused: list[tuple[Recipe, str]]


def collect(
    recipes: Sequence[Recipe],
    load: Loader,
    store: Store,
    *,
    threads: int = 1,
    rounds: int = 2,
    budget_s: float = 0.12,
    progress: Callable[[int, int, str], Any] | None = None,
    count: Callable[[Material], Mapping[str, float]] | None = None,
) -> Collection:
    """Measure what the store does not have yet.

    Args:
        recipes: the graphs.
        load: puts them into the runtime.
        store: measurements of earlier runs and of this one.
        threads: of the runtime.
        rounds: how often every graph is measured, in a different order each time; the minimum counts.
        budget_s: for one graph in one round.
        progress: called with graphs done, graphs in all, and what comes next.
        count: gives the seconds of the kernels of a graph by name, by counters of the runtime; called once for every graph.
    """
    samples: dict[int, Sample] = {}
    refused: dict[int, tuple[Recipe, str]] = {}
    done = 0
    for number in range(rounds):
        for index in np.random.default_rng(number).permutation(len(recipes)).tolist():
            recipe = recipes[index]
            if progress is not None:
                progress(done, rounds * len(recipes), recipe.focus)
            done += 1
            known = (recipe.key, number) in store.seconds
            if index in refused or (known and index in samples):
                continue
            material = build(recipe)
            try:
                subject = load(material, threads, recipe.level)
                if not known:
                    found = measure(subject.run, clock_of(threads), budget_s)
                    store.add(recipe.key, number, found.seconds)
                if count is not None and recipe.key not in store.parts:
                    store.add_parts(recipe.key, count(material))
            except Diagnostic as error:
                refused[index] = (recipe, error.message)
                continue
            if index not in samples:
                ends = len(material.feeds) + subject.outputs
                samples[index] = Sample(recipe, 0.0, subject.schedule, dict(subject.bindings), ends)
    best = store.table()
    measured = [replace(s, seconds=best[s.recipe.key], parts=store.parts.get(s.recipe.key, {})) for _, s in sorted(samples.items())]
    return Collection(measured, [r for _, r in sorted(refused.items())])
