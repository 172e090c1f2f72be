"""The newest operator forms → the forms of an older opset: attributes instead of operands, older names.

`node_form` gives what a node looks like at an opset, or the reason why it cannot be said there. `least_opset` finds the oldest
opset that can say it. Semantics that an older opset lacks altogether are the business of decomposition passes, not of this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..dtypes import DType
from ..graph import Node, Value
from ..op import Opaque
from ..types import OptionalType, SequenceType, TensorType, Type

OLDEST_OPSET = 7
_NEGATIVE_AXES = ("OneHot", "TopK", "LpNormalization")  # these count from the end in every version


@dataclass
class Form:
    """How a node is written: operator name, operands, attributes."""

    op_type: str
    inputs: list[Value | None]
    attributes: dict[str, Any] = field(default_factory=dict)


Downgrade = Callable[[Node, Form], "str | None"]  # changes the form; a reason when it cannot
_DOWNGRADES: dict[str, list[tuple[int, Downgrade]]] = {}


def _below(version: int, *names: str) -> Callable[[Downgrade], Downgrade]:
    def register(rule: Downgrade) -> Downgrade:
        for name in names:
            _DOWNGRADES.setdefault(name, []).append((version, rule))
            _DOWNGRADES[name].sort(key=lambda entry: -entry[0])
        return rule

    return register


def _operand_to_ints(form: Form, index: int, attribute: str) -> str | None:
    if index >= len(form.inputs) or form.inputs[index] is None:
        return None
    ints = form.inputs[index].ints  # type: ignore[union-attr]
    if ints is None:
        return f"'{attribute}' is computed at run time, which needs a newer opset"
    form.attributes[attribute] = ints
    form.inputs[index] = None
    return None


def _operand_to_scalar(form: Form, index: int, attribute: str) -> str | None:
    value = form.inputs[index] if index < len(form.inputs) else None
    if value is None:
        return None
    if value.data is None:
        return f"'{attribute}' is computed at run time, which needs a newer opset"
    form.attributes[attribute] = value.data.numpy().reshape(-1)[0].item()
    form.inputs[index] = None
    return None


@_below(13, "Squeeze", "Unsqueeze", "ReduceSum")
@_below(
    18,
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)
def _axes(node: Node, form: Form) -> str | None:
    axes = form.inputs[1] if len(form.inputs) > 1 else None
    if form.attributes.pop("noop_with_empty_axes", 0) and (axes is None or axes.shape == (0,)):
        return "a reduction over no axes needs a newer opset"
    reason = _operand_to_ints(form, 1, "axes")
    if reason is None and form.attributes.get("axes") == ():
        del form.attributes["axes"]
    return reason


@_below(13, "Softmax", "LogSoftmax", "Hardmax")
def _softmax(node: Node, form: Form) -> str | None:
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    axis = form.attributes.get("axis", -1)
    if rank is None or axis not in (-1, rank - 1):
        return "normalising over an inner axis needs opset 13"
    form.attributes["axis"] = rank - 1
    return None


@_below(18, "Split")
def _split_count(node: Node, form: Form) -> str | None:
    count = form.attributes.pop("num_outputs", None)
    if count is not None and len(form.inputs) < 2:
        x = node.inputs[0]
        dim = x.shape[form.attributes.get("axis", 0)] if x is not None and x.shape is not None else None
        if not isinstance(dim, int) or dim % count:
            return "an uneven split into a number of parts needs opset 18"
    return None


@_below(13, "Split")
def _split_sizes(node: Node, form: Form) -> str | None:
    return _operand_to_ints(form, 1, "split")


@_below(12, "Dropout")
def _dropout(node: Node, form: Form) -> str | None:
    return _operand_to_scalar(form, 1, "ratio")


@_below(11, "Clip")
def _clip(node: Node, form: Form) -> str | None:
    return _operand_to_scalar(form, 1, "min") or _operand_to_scalar(form, 2, "max")


@_below(18, "Pad")
def _pad_axes(node: Node, form: Form) -> str | None:
    if len(form.inputs) > 3 and form.inputs[3] is not None:
        return "padding chosen axes needs opset 18"
    return None


@_below(11, "Pad")
def _pad(node: Node, form: Form) -> str | None:
    return _operand_to_ints(form, 1, "pads") or _operand_to_scalar(form, 2, "value")


@_below(10, "Slice")
def _slice(node: Node, form: Form) -> str | None:
    if len(form.inputs) > 4 and form.inputs[4] is not None and form.inputs[4].ints != (1,) * len(form.inputs[4].ints or ()):
        return "slicing with steps needs opset 10"
    form.inputs = form.inputs[:4]
    for index, attribute in ((1, "starts"), (2, "ends"), (3, "axes")):
        reason = _operand_to_ints(form, index, attribute)
        if reason:
            return reason
    return None


@_below(10, "TopK")
def _top_k(node: Node, form: Form) -> str | None:
    return _operand_to_scalar(form, 1, "k")


@_below(11, "Gemm")
def _gemm(node: Node, form: Form) -> str | None:
    return "Gemm without C needs opset 11" if len(form.inputs) < 3 or form.inputs[2] is None else None


@_below(20, "GridSample")
def _grid_sample(node: Node, form: Form) -> str | None:
    mode = form.attributes.get("mode", "linear")
    form.attributes["mode"] = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return None


@_below(20, "DFT")
def _dft(node: Node, form: Form) -> str | None:
    reason = _operand_to_ints(form, 2, "axis")
    if reason is None:
        form.attributes["axis"] = form.attributes.get("axis", (-2,))[0]
    return reason


@_below(21, "GroupNormalization")
def _group_normalization(node: Node, form: Form) -> str | None:
    return "scale and bias per channel need opset 21"


@_below(13, "Resize")
def _resize(node: Node, form: Form) -> str | None:
    if len(form.inputs) > 1 and form.inputs[1] is None:
        return "Resize without roi needs opset 13"
    if len(form.inputs) > 2 and form.inputs[2] is None:
        return "Resize without scales needs opset 13"
    return None


@_below(14, "BatchNormalization")
def _batch_normalization(node: Node, form: Form) -> str | None:
    return "training mode changed at opset 14" if form.attributes.get("training_mode") else None


@_below(11, "Resize", "ScatterElements")
def _absent(node: Node, form: Form) -> str | None:
    return "the operator had another meaning before opset 11"


@_below(8, "Max", "Min", "Sum", "Mean")
def _variadic(node: Node, form: Form) -> str | None:
    shapes = [v.shape for v in node.inputs if v is not None]
    return None if all(s is not None and s == shapes[0] for s in shapes) else f"{form.op_type} broadcasts from opset 8 on"


@_below(28, "Mod")
def _mod(node: Node, form: Form) -> str | None:
    dtype = node.inputs[0].dtype  # type: ignore[union-attr]
    if dtype is not None and dtype.is_float and not form.attributes.get("fmod"):
        return "a floating-point remainder with the sign of the divisor needs opset 28"
    return None


@_below(19, "Pad")
def _pad_mode(node: Node, form: Form) -> str | None:
    return "padding that wraps around needs opset 19" if form.attributes.get("mode") == "wrap" else None


@_below(19, "Resize")
def _resize_mode(node: Node, form: Form) -> str | None:
    mode = form.attributes.get("coordinate_transformation_mode")
    return "coordinate_transformation_mode 'half_pixel_symmetric' needs opset 19" if mode == "half_pixel_symmetric" else None


@_below(18, "ScatterElements", "ScatterND")
def _scatter_reduction(node: Node, form: Form) -> str | None:
    reduction = form.attributes.get("reduction", "none")
    return f"scattering with reduction '{reduction}' needs opset 18" if reduction in ("max", "min") else None


@_below(20, "GridSample")
def _grid_sample_rank(node: Node, form: Form) -> str | None:
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    return "sampling volumes needs opset 20" if rank is not None and rank != 4 else None


def node_form(node: Node, opset: int) -> Form | str:
    """The node as opset ``opset`` writes it, or the reason why it cannot."""
    form = Form(node.op.op_name, list(node.inputs), dict(node.op.changed_attributes()))
    if node.op.domain == "" and not isinstance(node.op, Opaque):
        for version, rule in _DOWNGRADES.get(node.op.op_name, ()):
            if opset < version:
                reason = rule(node, form)
                if reason:
                    return reason
    if opset < 11:
        _count_from_front(node, form)
    while form.inputs and form.inputs[-1] is None:
        form.inputs.pop()
    return form


def _count_from_front(node: Node, form: Form) -> None:
    """Before opset 11 most operators take no negative axes."""
    holder = node.outputs[0] if form.op_type == "Unsqueeze" else node.inputs[0] if node.inputs else None
    rank = None if holder is None else holder.rank
    if rank is None or form.op_type in _NEGATIVE_AXES:
        return
    axis, axes = form.attributes.get("axis"), form.attributes.get("axes")
    if isinstance(axis, int) and axis < 0:
        form.attributes["axis"] = axis + rank
    if isinstance(axes, tuple) and any(a < 0 for a in axes):
        form.attributes["axes"] = tuple(a % rank for a in axes)


@cache
def schema_versions(name: str) -> tuple[int, ...]:
    """The opsets at which an ai.onnx operator was defined or redefined, oldest first."""
    from onnx import defs

    versions: list[int] = []
    version = defs.onnx_opset_version()
    while version >= 1 and defs.has(name, version, ""):
        since = defs.get_schema(name, version, "").since_version
        versions.append(since)
        version = since - 1
    return tuple(reversed(versions))


@cache
def _schema(name: str, version: int) -> Any:
    from onnx import defs

    return defs.get_schema(name, version, "")


@cache
def _admits(name: str, version: int, attributes: tuple[str, ...], inputs: tuple[str, ...], results: int) -> str | None:
    """Why the definition of ``version`` does not admit these attributes, operand types and number of results, or None."""
    schema = _schema(name, version)
    if schema.deprecated:
        return f"{name} is deprecated at opset {version}"
    for attribute in attributes:
        if attribute not in schema.attributes:
            return f"attribute '{attribute}' needs a newer opset"
    if len(inputs) > schema.max_input:
        return f"{len(inputs)} operands need a newer opset"
    if results > schema.max_output:
        return f"{results} results need a newer opset"
    allowed = _allowed_types(name, version)
    for index, text in enumerate(inputs):
        parameter = allowed[min(index, len(allowed) - 1)] if allowed else None
        if text and parameter is not None and text not in parameter:
            return f"operand {index} of type {text} needs a newer opset"
    return None


@cache
def _allowed_types(name: str, version: int) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(i.types) for i in _schema(name, version).inputs)


_ONNX_NAMES = {t: t.name.lower() for t in DType}


def _type_text(value: Value | None) -> str:
    return "" if value is None else _text_of(value.type)


def _text_of(type_: Type) -> str:
    if isinstance(type_, TensorType):
        return f"tensor({_ONNX_NAMES[type_.dtype]})"
    if isinstance(type_, SequenceType) and isinstance(type_.element, TensorType):
        return f"seq(tensor({_ONNX_NAMES[type_.element.dtype]}))"
    if isinstance(type_, OptionalType):
        inner = _text_of(type_.element)
        return f"optional({inner})" if inner else ""
    return ""


def cannot_say(node: Node, opset: int) -> str | None:
    """Why a node of ai.onnx cannot be written at an opset, or None when it can."""
    op = node.op
    if isinstance(op, Opaque):
        return None if op.version == opset or op.domain else f"it was read at opset {op.version}, whose form is not known to change"
    versions = schema_versions(op.op_name)
    usable = [v for v in versions if v <= opset]
    if not usable:
        return f"{op.op_name} entered ONNX at opset {versions[0]}" if versions else f"{op.op_name} is not an ai.onnx operator"
    form = node_form(node, opset)
    if isinstance(form, str):
        return form
    attributes = tuple(form.attributes)
    results = max((index for index, value in enumerate(node.outputs, 1) if value.uses), default=1)
    return _admits(op.op_name, usable[-1], attributes, tuple(_type_text(v) for v in form.inputs), results)


def least_opset(node: Node, start: int = OLDEST_OPSET) -> int | None:
    """The oldest opset from ``start`` on at which a node can be written, or None when none can."""
    if node.op.domain:
        return start
    if isinstance(node.op, Opaque):
        return max(start, node.op.version)
    if cannot_say(node, start) is None:
        return start
    from onnx.defs import onnx_opset_version

    for version in range(start + 1, onnx_opset_version() + 1):
        if cannot_say(node, version) is None:
            return version
    return None
