"""Inputs that only carry shapes, axes and the like, bound as constants before a case of the conformance suite runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conformance_compare import is_exotic  # noqa: E402

Feeds = dict[str, Any]

# Input slots that carry shapes, axes, counts and sizes rather than data.
PARAMETER_SLOTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2),
    "ConstantOfShape": (0,), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Dropout": (1, 2),
    "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "Loop": (0, 1), "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Resize": (1, 2, 3), "STFT": (1, 3), "SequenceAt": (1,), "SequenceErase": (1,), "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4), "Split": (1,), "SplitToSequence": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
for _kind_of_sum in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
    PARAMETER_SLOTS[f"Reduce{_kind_of_sum}"] = (1,)
# Integer arithmetic through which a shape may travel on its way to such a slot.
SHAPE_ARITHMETIC = frozenset(
    "Add Cast Concat Div Equal Gather Identity Max Min Mod Mul Neg Reshape Slice Sub Squeeze Unsqueeze Where".split()
)


# What a size may also travel through where it serves for arithmetic too; the latter three on the way from a quotient to a count.
SIZE_MOVEMENT = SHAPE_ARITHMETIC | {"Split", "Ceil", "Floor", "Relu"}


def bind_parameters(model: onnx.ModelProto, feeds: Feeds) -> Feeds:
    """Turn inputs that only carry shapes, axes and the like, and numbers that become sizes, into initializers of ``model``, in place.

    Those that become sizes are integers, and single floating-point numbers such as the bounds of a range.

    Returns:
        The feeds that are left.
    """
    uses: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    outputs = {value.name for value in model.graph.output}
    _collect_uses(model.graph, uses, outputs)
    typed = {value.name: value for value in model.graph.input}
    passed: dict[str, list[str]] = {}
    _collect_results(model.graph, passed)
    bound: set[str] = set()
    for name, value in feeds.items():
        if not isinstance(value, np.ndarray) or typed[name].type.WhichOneof("value") != "tensor_type":
            continue
        integer = value.dtype.kind in "iu"
        number = value.dtype.kind in "iubf" or is_exotic(value.dtype)
        countable = integer or number and value.size == 1
        if number and _only_parameter(name, integer, uses, outputs, 0) or countable and _becomes_size(name, uses, passed, set()):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            bound.add(name)
    kept = [value for value in model.graph.input if value.name not in bound]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return {name: value for name, value in feeds.items() if name not in bound}


def _collect_uses(graph: onnx.GraphProto, uses: dict[str, list[tuple[onnx.NodeProto, int]]], outputs: set[str]) -> None:
    for node in graph.node:
        for slot, name in enumerate(node.input):
            uses.setdefault(name, []).append((node, slot))
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                outputs.update(value.name for value in inner.output)
                _collect_uses(inner, uses, outputs)


def _only_parameter(
    name: str,
    integer: bool,
    uses: dict[str, list[tuple[onnx.NodeProto, int]]],
    outputs: set[str],
    depth: int,
) -> bool:
    consumers = uses.get(name, [])
    if not consumers or name in outputs or depth > 8:
        return False
    for node, slot in consumers:
        if node.domain not in ("", "ai.onnx"):
            return False
        if slot in PARAMETER_SLOTS.get(node.op_type, ()):
            continue
        if not (integer and node.op_type in SHAPE_ARITHMETIC):
            return False
        if not all(_only_parameter(output, integer, uses, outputs, depth + 1) for output in node.output):
            return False
    return True


def _collect_results(graph: onnx.GraphProto, passed: dict[str, list[str]]) -> None:
    """What the results of branches are called outside."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if node.op_type == "If":
                    for value, name in zip(inner.output, node.output, strict=True):
                        passed.setdefault(value.name, []).append(name)
                _collect_results(inner, passed)


def _becomes_size(name: str, uses: dict[str, list[tuple[onnx.NodeProto, int]]], passed: dict[str, list[str]], seen: set[str]) -> bool:
    """Whether some way leads from a number to a slot of `PARAMETER_SLOTS`."""
    if name in seen:
        return False
    seen.add(name)
    following = list(passed.get(name, []))
    for node, slot in uses.get(name, []):
        if slot in PARAMETER_SLOTS.get(node.op_type, ()):
            return True
        if node.op_type in SIZE_MOVEMENT and not (node.op_type == "Gather" and slot == 1):
            following += node.output
    return any(_becomes_size(output, uses, passed, seen) for output in following)


def with_bound_parameters(model: bytes, feeds: Feeds) -> tuple[bytes, Feeds]:
    proto = onnx.load_from_string(model)
    left = bind_parameters(proto, feeds)
    return proto.SerializeToString(), left
