"""The base class of passes and what a pass reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from .registry import ALIASES, PASSES

if TYPE_CHECKING:
    from ..ir.graph import Graph
    from .context import Context


@dataclass
class Change:
    """What a pass did: whether the graph differs now, and how often each named event happened.

    >>> Change.of("fold", 2) | Change.of("fold") | Change()
    Change(modified=True, counts={'fold': 3})
    """

    modified: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(event: str, times: int = 1) -> Change:
        """A change of one kind; zero times is no change."""
        return Change(times > 0, {event: times} if times else {})

    def record(self, event: str, times: int = 1) -> None:
        """Count a modification."""
        if times:
            self.modified = True
            self.counts[event] = self.counts.get(event, 0) + times

    def __or__(self, other: Change) -> Change:
        counts = dict(self.counts)
        for event, times in other.counts.items():
            counts[event] = counts.get(event, 0) + times
        return Change(self.modified or other.modified, counts)


@dataclass(frozen=True)
class Pass(ABC):
    """A transformation or analysis of a whole model. The dataclass fields are its options in pipeline text.

    A subclass is registered under its ``name``; the first line of its docstring is its description. `run` gets the root graph and
    visits regions itself (`Graph.graphs`). Every single rewrite first asks `Context.permit`, so that bisection works.

    Class attributes:
        name: kebab-case name in pipeline text.
        aliases: other names that pipeline text may use.
        idempotent: whether running it twice in a row is never useful, because `run` works until nothing is left to do.
        keeps_interface: whether inputs and outputs stay as they are; a pass that changes them is for those who ask for it by name.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    idempotent: ClassVar[bool] = False
    keeps_interface: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = cls.__dict__.get("name", "")
        if not own:
            return
        present = PASSES.get(own)
        if present is not None and (present.__module__, present.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"pass '{own}' is registered twice: by {present.__module__} and by {cls.__module__}")
        PASSES[own] = cls
        for alias in cls.__dict__.get("aliases", ()):
            ALIASES[alias] = own

    @abstractmethod
    def run(self, graph: Graph, context: Context) -> Change:
        """Transform the graph in place and say what changed."""

    @classmethod
    def description(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""

    def options(self) -> Iterator[tuple[str, Any]]:
        """The options that differ from their defaults."""
        for item in fields(self):
            value = getattr(self, item.name)
            if item.default is MISSING or value != item.default:
                yield item.name, value

    def __str__(self) -> str:
        from .pipeline_text import format_pipeline

        return format_pipeline([self])
