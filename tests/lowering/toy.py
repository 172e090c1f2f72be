"""A target that lacks some operators and runs the rest in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgec.ir.graph import Node
from edgec.ir.model import Model
from edgec.lowering.artifact import Artifact
from edgec.lowering.backend import Backend, Session, Support, Verdict, refuse
from edgec.lowering.ort.backend import OrtBackend


class Toy(Backend):
    """ONNX Runtime without some operators.

    Args:
        lacks: names of operators that it refuses, with reason code ``operator``.
        parts: names of operators that its own passes would take apart.
        name: what it is registered as.
    """

    def __init__(self, lacks: Sequence[str] = (), parts: Sequence[str] = (), name: str = "toy") -> None:
        self.name = name  # type: ignore[misc]
        self.lacks, self.parts = frozenset(lacks), frozenset(parts)
        self.inner = OrtBackend()

    def available(self) -> str | None:
        return None

    def version(self) -> str:
        return "1.0"

    @property
    def matrix(self) -> Sequence[Support]:
        return self.inner.matrix

    def support(self, node: Node) -> Verdict:
        if node.op.op_name in self.lacks:
            return Verdict("none", f"the toy has no {node.op.op_name}", "toy's manual", "operator")
        if node.op.op_name in self.parts:
            return Verdict("decomposed", f"the toy takes {node.op.op_name} apart", "toy's manual")
        return Verdict("native")

    def pipeline(self, options: Mapping[str, Any]) -> str:
        return "default,dead-code"

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        problems = [(node, self.support(node)) for node in model.graph.walk()]
        problems = [(node, verdict) for node, verdict in problems if not verdict.runs]
        if problems:
            raise refuse(self.name, problems)
        made = self.inner.lower(model, self.inner.options({}))
        return Artifact(self.name, made.files, made.signature, made.facts, {}, made.losses, made.debug)

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        return self.inner.open(folder, manifest, options)
