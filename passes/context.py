"""What passes share during one run of a pipeline: options, limits, notes, cached analyses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..ir.graph import Graph, Node

T = TypeVar("T")


@dataclass(frozen=True)
class Note:
    """Something a pass wants the user to know: it kept a node that it could not evaluate, for example."""

    source: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.source}: {self.message}{place}"


@dataclass(frozen=True)
class DeclineRecord:
    """A rule that matched and then decided against the rewrite."""

    rule: str
    reason: str
    root: Node
    culprit: Node | None = None


@dataclass
class Context:
    """The surroundings of one run of a pipeline.

    Attributes:
        opsets: the opset version per domain that the result may use at most; a domain that is not listed has no limit.
        allow_approximate: whether rewrites may change results beyond the rounding of a reordered sum.
        seed: for passes that draw random numbers.
        fold_bytes: how large a folded constant may be, in bytes, when it replaces less than that.
        notes: what passes reported, in order.
        declines: filled with the rules that matched and declined; None (do not record) in normal runs.
        rewrite_limit: after so many rewrites no further one is permitted (`BisectLimit`); None means no limit.
        rewrites: the number of rewrites permitted so far, counted across passes.
        last_rewrite: the name of the last permitted rewrite: the culprit once a bisection has found the limit.
        extras: values for passes outside this package, by name.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    allow_approximate: bool = False
    seed: int = 0
    fold_bytes: int = 64 * 1024
    notes: list[Note] = field(default_factory=list)
    declines: list[DeclineRecord] | None = None
    rewrite_limit: int | None = None
    rewrites: int = 0
    last_rewrite: str = ""
    extras: dict[str, Any] = field(default_factory=dict)
    _analyses: dict[tuple[str, Graph], Any] = field(default_factory=dict, repr=False)

    def permit(self, rewrite: str) -> bool:
        """Ask before every rewrite: counts it, and says no once the limit of a bisection is reached."""
        if self.rewrite_limit is not None and self.rewrites >= self.rewrite_limit:
            return False
        self.rewrites += 1
        self.last_rewrite = rewrite
        return True

    def note(self, source: str, message: str, where: str = "") -> None:
        """Report something to the user; a repeated report is kept once."""
        note = Note(source, message, where)
        if note not in self.notes:
            self.notes.append(note)

    def admits(self, domain: str, version: int) -> bool:
        """Whether a form that needs this opset version of a domain may be used."""
        return self.opsets.get(domain, version) >= version

    def analysis(self, name: str, graph: Graph, compute: Callable[[Graph], T]) -> T:
        """A fact about a graph, computed once until some pass changes the model."""
        key = (name, graph)
        if key not in self._analyses:
            self._analyses[key] = compute(graph)
        return self._analyses[key]

    def forget_analyses(self) -> None:
        """Drop all cached facts; the pass manager calls this after every pass that changed something."""
        self._analyses.clear()
