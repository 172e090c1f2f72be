"""The interface of backends: capability matrix, lowering, sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..ir.custom import is_custom, remedy, route_of
from ..ir.diagnostics import Diagnostic, Exit, code, did_you_mean
from ..ir.graph import Node
from ..ir.model import Model
from .artifact import Artifact
from .signature import Signature
from .support import REASON_CODES, REMEDIES, Condition, Level, Obstacle, Support, Verdict

__all__ = [
    "REASON_CODES",
    "REMEDIES",
    "Backend",
    "Condition",
    "Level",
    "Obstacle",
    "Refusal",
    "Session",
    "Support",
    "Verdict",
    "refuse",
    "refuse_model",
    "refuse_python",
]

E_REFUSED = code(
    "E0501",
    "the target cannot take the model",
    "The capability matrix of the target has no way to run the named node with these element types and attributes, and no decomposition "
    "removes it. The reason code says what kind of obstacle it is and the hint what to do about it. `edgec support MODEL --target TARGET` "
    "shows every node, `edgec targets TARGET` the matrix; another target or element type may do.",
    Exit.TARGET_REFUSED,
)
E_TARGET = code("E0502", "there is no such target", "The target's name is not registered. `edgec targets` lists them.")
E_NOT_INSTALLED = code(
    "E0503",
    "the target's runtime is not installed",
    "Targets other than the embedded default need their own runtime: install the extra that the hint names.",
    Exit.TARGET_REFUSED,
)
E_LOAD = code(
    "E0504",
    "the runtime does not load the artifact",
    "The runtime rejected the model when it was opened. The notes hold the runtime's own message.",
    Exit.TARGET_REFUSED,
)
E_RUN = code(
    "E0505",
    "the runtime failed while running",
    "The runtime stopped at a node, usually because the fed sizes do not fit together. The notes hold the runtime's own message.",
)
E_OPTION = code("E0506", "a backend option is unknown or has an impossible value", "`edgec targets TARGET` lists the options.")


class Session(ABC):
    """A loaded artifact that runs."""

    signature: Signature

    @abstractmethod
    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name for feeds by name; `Diagnostic` E0601–E0603 for wrong feeds, E0505 when the runtime
        fails.
        """


class Backend(ABC):
    """A target runtime.

    Class attributes:
        name: the target's name on the command line.
        extra: the pip extra that installs its runtime, empty when it is part of the core.
        option_defaults: every option with its default; other names are refused.
    """

    name: ClassVar[str]
    extra: ClassVar[str] = ""
    option_defaults: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def available(self) -> str | None:
        """None when the runtime can be used here, else the reason with the install command."""

    @abstractmethod
    def version(self) -> str:
        """The version of the installed runtime."""

    @property
    @abstractmethod
    def matrix(self) -> Sequence[Support]:
        """The capability matrix."""

    @property
    def rows_version(self) -> str:
        """The version that ``since`` and ``until`` of the matrix speak of: that of the runtime, unless it is that of a format."""
        return self.version()

    @abstractmethod
    def support(self, node: Node) -> Verdict:
        """Whether and how one node runs."""

    @abstractmethod
    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The pass pipeline to run before `lower`, decompositions for this target included."""

    @abstractmethod
    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Make the artifact; `Diagnostic` E0501 names the first node the target cannot take."""

    @abstractmethod
    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the artifact that lies in ``folder``; ``options`` override those of the manifest."""

    def check(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Raise the runtime's refusal of a complete artifact, before its bundle appears.

        By default the artifact is opened. A target that cannot be executed on the machine that compiles says here how else it is
        judged.
        """
        self.open(folder, manifest, {})

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with defaults filled in; `Diagnostic` E0506 for an unknown name."""
        for name in given:
            if name not in self.option_defaults:
                hint = did_you_mean(name, list(self.option_defaults))
                raise Diagnostic(E_OPTION, f"target '{self.name}' has no option '{name}'", hint=hint)
        return {**self.option_defaults, **given}

    def require(self) -> None:
        """Raise `Diagnostic` E0503 with the install command unless the runtime can be used."""
        reason = self.available()
        if reason is not None:
            hint = f"pip install 'edgec[{self.extra}]'" if self.extra else "pip install edgec"
            raise Diagnostic(E_NOT_INSTALLED, f"target '{self.name}' cannot be used: {reason}", hint=hint)


class Refusal(Diagnostic):
    """A target cannot take the model.

    Attributes:
        problems: the nodes in the way with the verdicts on them; empty when the model as a whole is refused.
        reason_code: the kind of the first obstacle, one of `REASON_CODES`; empty when it is not known.
    """

    problems: Sequence[tuple[Node, Verdict]] = ()
    reason_code: str = ""

    def to_json(self) -> dict[str, object]:
        """The same facts as plain data."""
        problems = [
            {"node": node.name, "op": node.op.qualified_name, "where": node.where, "code": said.code, "reason": said.reason}
            for node, said in self.problems
        ]
        return {**super().to_json(), "reason_code": self.reason_code, "problems": problems}


def refuse(backend: str, problems: Sequence[tuple[Node, Verdict]]) -> Refusal:
    """The refusal of a model: names the first node with its reason code and the remedy, and lists the others."""
    node, verdict = problems[0]
    notes = [f"also {other.where}: {said.reason}{f' [{said.code}]' if said.code else ''}" for other, said in problems[1:8]]
    if len(problems) > 8:
        notes.append(f"and {len(problems) - 8} more nodes")
    if verdict.evidence:
        notes.insert(0, f"evidence: {verdict.evidence}")
    if verdict.code:
        notes.insert(0, f"reason code: {verdict.code} ({REASON_CODES[verdict.code]})")
    name = node.op.qualified_name
    hint = REMEDIES.get(verdict.code, "convert its element type, or choose another target")
    found = Refusal(
        E_REFUSED,
        f"target '{backend}' cannot run {name}: {verdict.reason}",
        node.where,
        remedy(name) if is_custom(node.op) else hint,
        notes,
    )
    found.problems, found.reason_code = tuple(problems), verdict.code
    return found


def refuse_model(backend: str, reason_code: str, reason: str, where: str = "", notes: Sequence[str] = ()) -> Refusal:
    """The refusal of a model as a whole: its size, its interface, or what the runtime says without naming a node.

    Args:
        backend: the target's name.
        reason_code: one of `REASON_CODES`.
        reason: what is in the way.
        where: the value or file that it is about.
        notes: further lines of evidence.
    """
    told = f"reason code: {reason_code} ({REASON_CODES[reason_code]})"
    found = Refusal(E_REFUSED, f"target '{backend}' cannot take the model: {reason}", where, REMEDIES[reason_code], [told, *notes])
    found.reason_code = reason_code
    return found


def refuse_python(backend: str, model: Model) -> None:
    """Raise the refusal of a model with operators whose route is ``python``: they serve verification only."""
    verdict = Verdict("none", "its route is 'python', which serves verification only", code="custom")
    problems = [(node, verdict) for node in model.graph.walk() if route_of(node.op.qualified_name) == "python"]
    if problems:
        raise refuse(backend, problems)
