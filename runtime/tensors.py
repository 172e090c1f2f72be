"""Collecting intermediate tensors: extra outputs on parts of a model, in chunks that bound memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from .subgraph import CUT_SUFFIX
from .subject import Subject

FIRST_CHUNK = 16


@dataclass(frozen=True)
class TensorFacts:
    """What one run showed of a tensor: element type, shape and size in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int


class Part:
    """A piece of a model that computes some tensors, perhaps from fed intermediate tensors."""

    def __init__(self, subject: Subject, targets: Sequence[str], cut_types: Mapping[str, tuple[int, int]] | None = None) -> None:
        """Cut the piece out of the subject's graph.

        Args:
            targets: names of the tensors wanted.
            cut_types: tensors fed instead of computed: ONNX element type code and rank by name.
        """
        assert subject.graph is not None
        self._renamed = {(t + CUT_SUFFIX if cut_types and t in cut_types else t): t for t in targets}
        self._subject = subject
        self._proto = subject.graph.extract(targets, cut_types)
        self._engine: Any = None
        self.inputs = [value.name for value in self._proto.graph.input]

    def load(self) -> None:
        """Load the piece without runtime optimisations, unless it is; `Diagnostic` when the runtime does not
        take it.
        """
        if self._engine is None:
            self._engine = self._subject.engine(self._proto)
            self.inputs = list(self._engine.input_types)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors by name; ``feeds`` may hold more than is needed."""
        self.load()
        results = self._engine.run({name: feeds[name] for name in self.inputs})
        return {self._renamed[name]: value for name, value in results.items()}

    def release(self) -> None:
        """Unload the piece; the next `run` loads it again."""
        self._engine = None


def observe(subject: Subject, names: Sequence[str], feeds: Mapping[str, Any], *, budget: int) -> Iterator[tuple[str, Any]]:
    """Run a model once per chunk and give each named tensor (not sequences) in the order of ``names``.

    The chunks begin small and grow while they stay below ``budget`` bytes, so that at most about two budgets
    of tensors are held at a time even when nothing is known about their sizes.
    """
    size = FIRST_CHUNK
    start = 0
    while start < len(names):
        chunk = names[start : start + size]
        start += len(chunk)
        held = 0
        for name, value in _collect(subject, chunk, feeds):
            held += nbytes_of(value)
            yield name, value
        if held < budget // 4:
            size *= 4
        elif held > budget:
            size = max(1, size * budget // held)


def _collect(subject: Subject, names: Sequence[str], feeds: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The tensors of one chunk; a chunk that the runtime cannot give (an odd type among them) is halved."""
    try:
        return list(Part(subject, names).run(feeds).items())
    except Diagnostic:
        if len(names) == 1:
            return []
        middle = len(names) // 2
        return _collect(subject, names[:middle], feeds) + _collect(subject, names[middle:], feeds)


def facts_of(value: Any) -> TensorFacts | None:
    """The facts of a tensor, None for sequences and absent optionals."""
    if not isinstance(value, np.ndarray):
        return None
    return TensorFacts(value.dtype, value.shape, nbytes_of(value))


def nbytes_of(value: Any) -> int:
    """The size in bytes of a tensor, or of all tensors in a sequence."""
    if isinstance(value, np.ndarray):
        return value.nbytes if value.dtype.kind != "O" else 64 * value.size
    return sum(nbytes_of(item) for item in value) if isinstance(value, list) else 0


def collect_values(
    subject: Subject, names: Sequence[str], feeds: Mapping[str, Any], *, budget: int = 256 << 20
) -> Iterator[tuple[str, Any]]:
    """Give the named intermediate tensors of a model for one set of feeds, bounded in memory.

    Raises:
        Diagnostic: E0601–E0603 when the feeds do not fit the model, E0505 when the whole model does not run.
    """
    checked = subject.signature.check(feeds, subject.label)
    yield from observe(subject, names, checked, budget=budget)
