"""The interface of backends: capability matrix, lowering, sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..ir.custom import is_custom, remedy, route_of
from ..ir.diagnostics import Diagnostic, Exit, code, did_you_mean
from ..ir.dtypes import DType
from ..ir.graph import Node
from ..ir.model import Model
from ..ir.op import Op
from .artifact import Artifact
from .signature import Signature

Level = Literal["native", "decomposed", "partial", "none"]

E_REFUSED = code(
    "E0501",
    "the target cannot take the model",
    "The capability matrix of the target has no way to run the named node with these element types and "
    "attributes, and no "
    "decomposition removes it. `edgec targets TARGET` prints the matrix; another target or element type "
    "may do.",
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


REASON_CODES = {
    "operator": "the target has no such operator and no decomposition is known",
    "attribute": "the operator exists, but not with these attributes",
    "dtype": "the target has no kernel for this element type",
    "rank": "the target's kernel takes fewer dimensions",
    "dynamic-rank": "the number of dimensions is not known",
    "dynamic-shape": "a size that the target needs is not known before the run",
    "dynamic-parameter": "an operand that the target wants as a constant is computed at run time",
    "int64-range": "an integer lies beyond what the target's 32-bit integers hold",
    "zero-size": "a tensor has no elements",
    "not-finite": "a constant holds NaN or infinity where the target cannot have it",
    "string": "the target has no texts",
    "sequence": "the target has no sequences or optional values",
    "control-flow": "the target cannot branch or loop in this way",
    "random": "the result is random, so nothing can be verified",
    "size-limit": "the artifact would be larger than its format allows",
    "precision": "the target's arithmetic is not precise enough for the result to be verified",
    "custom": "the operator is a custom one without a route for this target",
}


@dataclass(frozen=True)
class Verdict:
    """What a backend says of one node.

    Attributes:
        level: ``native``, ``decomposed`` (runs, but in smaller pieces), ``partial`` (runs with a stated
            restriction) or ``none``.
        reason: why not, or what the restriction is; empty for ``native``.
        evidence: where that is known from.
        code: for ``none``, the kind of obstacle, one of `REASON_CODES`.
    """

    level: Level
    reason: str = ""
    evidence: str = ""
    code: str = ""

    @property
    def runs(self) -> bool:
        """Whether the backend can execute the node at all."""
        return self.level != "none"


@dataclass(frozen=True)
class Support:
    """One row of a capability matrix.

    Attributes:
        op: the operator class.
        level: as in `Verdict`.
        dtypes: element types of the first operand, None when the row does not depend on them.
        when: gives the reason why a node is not covered, or None when it is.
        since: first backend version for which the row holds.
        until: last backend version, empty when it still holds.
        evidence: where the row comes from.
    """

    op: type[Op]
    level: Level
    dtypes: frozenset[DType] | None = None
    when: Callable[[Node], str | None] | None = None
    since: str = ""
    until: str = ""
    evidence: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "op": f"{self.op.domain}.{self.op.op_name}" if self.op.domain else self.op.op_name,
            "level": self.level,
            "dtypes": None if self.dtypes is None else sorted(d.short for d in self.dtypes),
            "conditional": self.when is not None,
            "since": self.since,
            "until": self.until,
            "evidence": self.evidence,
        }


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


def refuse(backend: str, problems: Sequence[tuple[Node, Verdict]]) -> Diagnostic:
    """The refusal of a model: names the first node and lists the others."""
    node, verdict = problems[0]
    notes = [f"also {other.where}: {said.reason}" for other, said in problems[1:8]]
    if len(problems) > 8:
        notes.append(f"and {len(problems) - 8} more nodes")
    if verdict.evidence:
        notes.insert(0, f"evidence: {verdict.evidence}")
    hint = "convert its element type, or choose another target"
    name = node.op.qualified_name
    return Diagnostic(
        E_REFUSED,
        f"target '{backend}' cannot run {name}: {verdict.reason}",
        node.where,
        remedy(name) if is_custom(node.op) else hint,
        notes,
    )


def refuse_python(backend: str, model: Model) -> None:
    """Raise the refusal of a model with operators whose route is ``python``: they serve verification only."""
    verdict = Verdict("none", "its route is 'python', which serves verification only")
    problems = [(node, verdict) for node in model.graph.walk() if route_of(node.op.qualified_name) == "python"]
    if problems:
        raise refuse(backend, problems)
