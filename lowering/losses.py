"""What an artifact lacks of the model, whatever the backend: metadata, free dimensions, the interface, quantisation parameters."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..ir.graph import Node, Value
from ..ir.model import Model
from ..ir.ops.quantize import DequantizeLinear, QuantizeLinear
from .artifact import Artifact, Loss
from .signature import Signature, TensorSpec

LISTED = 5


@dataclass(frozen=True)
class QuantParameters:
    """The parameters of one quantisation or dequantisation.

    Attributes:
        key: tells equal parameters by their contents.
        node: the node's name.
        text: element type, granularity and symmetry in words.
    """

    key: tuple[str, ...]
    node: str
    text: str


@dataclass(frozen=True)
class Carried:
    """What a model carries besides its computation."""

    metadata: tuple[str, ...]
    signature: Signature
    quantisation: tuple[QuantParameters, ...]


def carried_by(model: Model) -> Carried:
    """What a model carries; taken before the passes run."""
    return Carried(tuple(sorted(model.metadata)), Signature.of(model), tuple(quant_parameters(model.graph.walk())))


def quant_parameters(nodes: Iterable[Node]) -> Iterator[QuantParameters]:
    """The parameters of all nodes that quantise or dequantise by constants."""
    for node in nodes:
        if not isinstance(node.op, QuantizeLinear | DequantizeLinear):
            continue
        scale, zero = node.operand(1), node.operand(2)
        stored = node.inputs[0] if isinstance(node.op, DequantizeLinear) else node.outputs[0]
        if scale is None or scale.data is None or stored is None or stored.dtype is None:
            continue
        asymmetric = zero is not None and zero.data is not None and bool(zero.data.numpy().any())
        axis, block = node.op.axis if scale.rank else None, node.op.block_size
        grain = "per tensor" if not scale.rank else f"in blocks of {block}" if block else f"per channel of axis {axis}"
        key = (stored.dtype.short, str(axis), str(block), _digest(scale), _digest(zero) if asymmetric else "")
        text = f"{stored.dtype} {grain}, {'asymmetric' if asymmetric else 'symmetric'}"
        yield QuantParameters(key, node.name or node.outputs[0].name, text)


def general_losses(source: Carried, artifact: Artifact, lowered: Model) -> tuple[Loss, ...]:
    """What the artifact lacks, beyond what its backend reports.

    Args:
        source: what the model carried before the passes.
        artifact: says what it carries.
        lowered: the model that the backend was given; its quantisations count as carried unless the backend accounts for them itself.
    """
    found = [*_metadata(source, artifact), *_interface(source.signature, artifact.signature)]
    if not artifact.carries.get("quantisation"):
        found += _quantisation(source.quantisation, list(quant_parameters(lowered.graph.walk())))
    known = {(loss.kind, loss.where) for loss in artifact.losses}
    return tuple(loss for loss in found if (loss.kind, loss.where) not in known)


def _digest(value: Value | None) -> str:
    if value is None or value.data is None:
        return ""
    return hashlib.sha256(value.data.numpy().tobytes()).hexdigest()[:16]


def _metadata(source: Carried, artifact: Artifact) -> Iterator[Loss]:
    lost = [key for key in source.metadata if key not in artifact.carries.get("metadata", ())]
    if lost:
        yield Loss("metadata", "model", f"the manifest keeps {_listed(lost)}, the artifact itself does not")


def _interface(source: Signature, target: Signature) -> Iterator[Loss]:
    for word, before, after in (("input", source.inputs, target.inputs), ("output", source.outputs, target.outputs)):
        present = {spec.name: spec for spec in after}
        for spec in before:
            where = f"{word} '{spec.name}'"
            other = present.get(spec.name)
            if other is None:
                yield Loss("interface", where, "the artifact has none of this name")
                continue
            if spec.dtype is not other.dtype:
                yield Loss("interface", where, f"its elements are {other.dtype}, not {spec.dtype}")
            yield from _dimensions(where, spec, other)


def _dimensions(where: str, before: TensorSpec, after: TensorSpec) -> Iterator[Loss]:
    if before.shape is None or after.shape is None:
        if after.shape is not None:
            yield Loss("dynamic-dimension", where, f"the number of dimensions is fixed to {len(after.shape)}")
        return
    if len(before.shape) != len(after.shape):
        yield Loss("interface", where, f"it has {len(after.shape)} dimensions, not {len(before.shape)}")
        return
    pairs = zip(before.shape, after.shape, strict=True)
    fixed = [f"{old} = {new}" for old, new in pairs if isinstance(old, str) and isinstance(new, int)]
    if fixed:
        yield Loss("dynamic-dimension", where, f"fixed: {', '.join(fixed)}")


def _quantisation(before: Sequence[QuantParameters], after: Sequence[QuantParameters]) -> Iterator[Loss]:
    left = Counter(parameters.key for parameters in after)
    lost: dict[str, list[str]] = {}
    for parameters in before:
        if left[parameters.key]:
            left[parameters.key] -= 1
        else:
            lost.setdefault(parameters.text, []).append(parameters.node)
    for text, nodes in sorted(lost.items()):
        what = f"{len(nodes)} quantisations ({text}) are not stored as such: they are folded, merged or spelled out in arithmetic"
        yield Loss("quantisation", _listed(nodes), what)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
