"""What lowering makes: files, facts for the manifest, and what the target could not represent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ir.model import Model
from .signature import Signature

FileContent = bytes | Callable[[Path], None]


LOSS_KINDS = {
    "precision": "results are computed or stored less precisely, or behave differently at the edges of the number range",
    "attribute": "an attribute or operand of an operator has no counterpart",
    "quantisation": "scales, zero points, axes or blocks are not what the model says",
    "dynamic-dimension": "a dimension that was free is fixed or bounded",
    "metadata": "descriptions, names and properties that the artifact has no place for",
    "interface": "inputs or outputs have other names, element types or layouts",
}
"""What can get lost, in groups."""

FINER_KINDS = {
    "integer-width": "precision",
    "range": "precision",
    "storage": "precision",
    "zero-point": "quantisation",
    "dynamic-shape": "dynamic-dimension",
    "interface-rank": "interface",
    "interface-type": "interface",
    "name": "interface",
    "state": "interface",
    "unused-input": "interface",
}
"""Kinds that say it more finely, with their groups."""


@dataclass(frozen=True)
class Loss:
    """Something of the model that the target cannot represent exactly.

    Attributes:
        kind: what sort of fact is lost, one of `LOSS_KINDS` or of `FINER_KINDS`.
        where: the node or value.
        what: one sentence with the figures.
    """

    kind: str
    where: str
    what: str

    @property
    def group(self) -> str:
        """The group of the kind, one of `LOSS_KINDS`."""
        return FINER_KINDS.get(self.kind, self.kind)

    def to_json(self) -> dict[str, str]:
        """The same facts as plain data."""
        return {"kind": self.kind, "group": self.group, "where": self.where, "what": self.what}


@dataclass(frozen=True)
class Artifact:
    """The product of a backend, not yet on disk.

    Attributes:
        backend: the backend's name.
        files: by name relative to the bundle: the bytes, or a writer that is given the path, so that large
            weights never have to be held in memory. A writer may make further files beside its own.
        signature: inputs and outputs.
        facts: what the manifest says about the lowering: opset, precision, decompositions, versions.
        options: the options the session needs again when the bundle is opened.
        losses: what the target could not represent.
        debug: ``values`` maps value names in the artifact to origin names in the source model, ``nodes`` node
            names to source nodes.
        carries: what the files carry besides the computation: ``metadata``, the keys of the model's properties; ``quantisation``, True
            when the backend itself accounts for every scale and zero point. What it does not name counts as lost where the model has it.
    """

    backend: str
    files: Mapping[str, FileContent]
    signature: Signature
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[Loss, ...] = ()
    debug: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    carries: Mapping[str, Any] = field(default_factory=dict)


def debug_handles(model: Model) -> dict[str, dict[str, list[str]]]:
    """The way back from every value and node of a model to the model it was imported from; ``tensors`` names the nodes behind a value."""
    values = {v.name: list(v.origins) for v in model.graph.values() if v.origins and v.name}
    nodes = {(n.name or n.outputs[0].name): list(n.sources) for n in model.graph.walk() if n.sources and n.outputs}
    for name, value in zip(model.graph.output_names, model.graph.outputs, strict=True):
        if value.origins:
            values.setdefault(name, list(value.origins))
    tensors = {v.name: list(n.sources) for n in model.graph.walk() if n.sources for v in n.outputs if v.name}
    return {"values": values, "nodes": nodes, "tensors": tensors}
