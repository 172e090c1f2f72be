"""Finding the translation of a node, and applying it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.graph import Node
from ....ir.op import Opaque
from ....ir.types import TensorType
from ...backend import Verdict
from ..carriers import CARRIERS, INT32_MAX, WIDE
from ..versions import Release
from .translation import DEFINITIONS, TRANSLATIONS, Obstacle, Translation

if TYPE_CHECKING:
    from .context import Emission

MAX_RANK = 5
_TYPES = "element types of MIL in coremltools 9.0"


def find(node: Node, release: Release) -> Translation | Obstacle:
    """The translation that serves a node on a release, or what stands in the way of the most promising one."""
    if isinstance(node.op, Opaque):
        return Obstacle("custom" if node.op.domain else "operator", "the operator is not known")
    found = TRANSLATIONS.get(type(node.op))
    if found is None:
        return Obstacle("operator", "MIL has no such operator and no decomposition serves")
    general = values_obstacle(node)
    if general is not None:
        return general
    obstacle: Obstacle | None = None
    for translation in found:
        reason = _reason(translation, node, release)
        if reason is None:
            return translation
        obstacle = reason if obstacle is None or reason.code != "dtype" else obstacle
    assert obstacle is not None
    return obstacle


def judge(node: Node, release: Release) -> Verdict:
    """How a node runs as it stands."""
    found = find(node, release)
    if isinstance(found, Obstacle):
        return Verdict("none", found.reason, DEFINITIONS if found.code != "dtype" else _TYPES, found.code)
    return Verdict(found.level, "runs as several MIL operators" if found.level == "decomposed" else "", found.evidence)


def emit_node(emission: Emission, node: Node) -> None:
    """Translate one node; it has been judged before."""
    if all(value.ints is not None for value in node.outputs):
        return  # inference knows the elements: they become constants where they are read
    found = find(node, emission.release)
    assert isinstance(found, Translation), found
    emission.enter(node)
    found.emit(emission, node)


def _reason(translation: Translation, node: Node, release: Release) -> Obstacle | None:
    if release < translation.since:
        return Obstacle("operator", f"it needs {translation.since.text}, the minimum target is {release.text}")
    x = node.operand(0)
    if translation.dtypes is not None and x is not None and isinstance(x.type, TensorType) and x.dtype not in translation.dtypes:
        return Obstacle("dtype", f"there is no translation for elements of type {x.dtype}")
    return translation.when(node) if translation.when is not None else None


def values_obstacle(node: Node) -> Obstacle | None:
    """What no operator can have: element types, ranks and sizes."""
    for index, value in enumerate(node.inputs):
        if value is not None and index not in node.op.shape_operands:
            obstacle = value_obstacle(value, constant=value.data is not None)
            if obstacle is not None:
                return obstacle
    for value in node.outputs:
        if value.uses:
            obstacle = value_obstacle(value, constant=False)
            if obstacle is not None:
                return obstacle
    return None


def value_obstacle(value: object, constant: bool) -> Obstacle | None:
    """Why no ML program can have a value."""
    type_ = value.type  # type: ignore[attr-defined]
    if not isinstance(type_, TensorType):
        return Obstacle("sequence", "ML programs pass tensors only")
    if type_.dtype.short == "str":
        return Obstacle("string", "ML programs have no texts")
    if type_.dtype not in CARRIERS:
        return Obstacle("dtype", f"ML programs have no elements of type {type_.dtype}")
    if type_.shape is None:
        return Obstacle("dynamic-rank", "the number of dimensions is not known")
    if len(type_.shape) > MAX_RANK:
        return Obstacle("rank", f"ML programs have at most {MAX_RANK} dimensions, this value has {len(type_.shape)}")
    if 0 in type_.shape:
        return Obstacle("zero-size", "a tensor has no elements")
    content = type_.content
    if constant and content is not None and type_.dtype in WIDE and any(isinstance(c, int) and abs(c) > INT32_MAX for c in content):
        return Obstacle("int64-range", "an integer does not fit 32 bits")
    return None
