"""What two models have in common before anything runs: their inputs, their outputs and the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, did_you_mean
from ..lowering.signature import TensorSpec
from .dataset import Sample, iterate_dataset
from .subject import E_COMPARE, Subject

Samples = Callable[[], Iterator[Sample]]


def check_inputs(a: Subject, b: Subject) -> None:
    """Raise `Diagnostic` E0622 unless both models take the same inputs."""
    names_a = [s.name for s in a.signature.inputs]
    names_b = [s.name for s in b.signature.inputs]
    for name in names_b:
        if name not in names_a and name not in a.signature.frozen:
            missing = [n for n in names_a if n not in names_b]
            hint = did_you_mean(name, missing or names_a)
            raise Diagnostic(E_COMPARE, f"'{b.label}' takes an input '{name}' that '{a.label}' does not", hint=hint)
    for name in names_a:
        if name not in names_b and name not in b.signature.frozen:
            raise Diagnostic(E_COMPARE, f"'{a.label}' takes an input '{name}' that '{b.label}' does not")


def output_pairs(a: Subject, b: Subject) -> list[tuple[str, str]]:
    """Corresponding outputs, by name where the first model's names are all there, else by position."""
    names_a = [s.name for s in a.signature.outputs]
    names_b = [s.name for s in b.signature.outputs]
    if len(set(names_a)) == len(names_a) and set(names_a) <= set(names_b):
        return [(name, name) for name in names_a]
    if len(names_a) == len(names_b):
        return list(zip(names_a, names_b, strict=True))
    missing = [n for n in names_a if n not in names_b]
    hint = did_you_mean(missing[0], names_b) if missing else ""
    raise Diagnostic(E_COMPARE, f"'{b.label}' lacks outputs of '{a.label}': {', '.join(missing)}", hint=hint)


def _filled(spec: TensorSpec, value: Any) -> Any:
    array = np.asarray(value, None if spec.dtype is None else spec.dtype.numpy)
    sizes = [size for size in spec.shape or () if isinstance(size, int)]
    return np.full(sizes, array) if array.ndim == 0 and len(sizes) == len(spec.shape or ()) else array


def nothing_to_compare(label: str, notes: Sequence[str] = ()) -> Diagnostic:
    """What to raise when no output of the reference has a finite element on any sample: such a comparison could not fail."""
    hint = "give --data with inputs that the model is made for"
    return Diagnostic(E_COMPARE, "every output is empty, NaN or infinite on every sample", f"'{label}'", hint, list(notes))


def sample_source(subject: Subject, data: Any, limit: int | None, seed: int, frozen: Mapping[str, Any] | None = None) -> Samples:
    """A function that iterates over the samples, made-up ones without data; it may be called several times.

    ``frozen`` holds the values of inputs that the other side was compiled for: made-up samples have these.
    """
    signature = subject.signature
    if data is None:
        from .synthesize import synthesize_feeds

        if subject.model is None:
            raise Diagnostic(E_COMPARE, f"'{subject.label}' tells too little to make up inputs", hint="give --data")
        fixed = {spec.name: _filled(spec, frozen[spec.name]) for spec in signature.inputs if frozen and spec.name in frozen}

        def attempt(feeds: dict[str, Any]) -> Any:
            return subject.run({**feeds, **fixed})

        feeds = synthesize_feeds(subject.model, seed, count=limit or 1, attempt=attempt)
        made = [Sample(f"synthetic {i}", signature.check({**f, **fixed})) for i, f in enumerate(feeds)]
        return lambda: iter(made)
    if isinstance(data, str | Path):
        return lambda: iterate_dataset(data, signature, limit=limit)
    samples = [s if isinstance(s, Sample) else Sample(str(i), dict(s)) for i, s in enumerate(data)]
    if not samples:
        raise Diagnostic(E_COMPARE, "there are no samples to compare the models on")
    for sample in samples[:limit]:
        sample.feeds = signature.check(sample.feeds, f"sample '{sample.name}'")
    return lambda: iter(samples[:limit])
