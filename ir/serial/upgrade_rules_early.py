"""Upgrades of opsets 1 to 6: explicit broadcasting, in-place hints, shapes as attributes."""

from __future__ import annotations

from ..diagnostics import E_SHAPE, Diagnostic
from ..graph import int64s
from ..op import OPS
from .upgrade import RawNode, below

_IN_PLACE = (
    "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid", "InstanceNormalization",
    "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh",
)  # fmt: skip


@below(6, *_IN_PLACE)
def drop_consumed_inputs(raw: RawNode) -> None:
    """Hints about reusing buffers have no meaning."""
    raw.attributes.pop("consumed_inputs", None)


@below(7, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
def explicit_broadcast(raw: RawNode) -> None:
    """Before opset 7 the second operand is aligned at ``axis`` of the first when ``broadcast`` is set."""
    broadcast = raw.attributes.pop("broadcast", 0)
    axis = raw.attributes.pop("axis", None)
    if not broadcast or axis is None:
        return
    left, right = raw.input(0), raw.input(1)
    if left.rank is None or right.rank is None:
        raise Diagnostic(E_SHAPE, "broadcasting at an axis needs operands of known rank", raw.where)
    start = axis + left.rank if axis < 0 else axis
    trailing = left.rank - start - right.rank
    if trailing > 0:
        axes = tuple(range(right.rank, right.rank + trailing))
        raw.inputs[1] = raw.add(OPS["", "Unsqueeze"](), right, int64s(axes))


@below(7, "PRelu")
def early_prelu(raw: RawNode) -> None:
    """Before opset 7 a slope of rank 1 runs over the channels."""
    x, slope = raw.input(0), raw.input(1)
    if slope.rank == 1 and x.rank is not None and x.rank > 2 and slope.shape != (1,):
        raw.inputs[1] = raw.add(OPS["", "Unsqueeze"](), slope, int64s(range(1, x.rank - 1)))


@below(7, "Gemm")
def gemm_broadcast(raw: RawNode) -> None:
    raw.attributes.pop("broadcast", None)


@below(7, "BatchNormalization")
def batch_normalization_test(raw: RawNode) -> None:
    """``is_test`` is the only mode of inference models."""
    raw.attributes.pop("is_test", None)
    del raw.outputs[1:]


@below(5, "Reshape")
def reshape_attribute(raw: RawNode) -> None:
    raw.attribute_to_ints("shape", 1)
    raw.attributes.pop("consumed_inputs", None)


@below(2, "Pad")
def pad_names(raw: RawNode) -> None:
    if "paddings" in raw.attributes:
        raw.attributes["pads"] = raw.attributes.pop("paddings")


@below(6, "Tile")
def tile_repeats(raw: RawNode) -> None:
    """Opset 1 tiles one axis: operands are the count and the axis, both constant."""
    x, count, axis = raw.input(0), raw.input(1).ints, raw.input(2).ints
    if x.rank is None or count is None or axis is None:
        raise Diagnostic(E_SHAPE, "Tile of opset 1 needs constant tiles and axis", raw.where)
    repeats = [1] * x.rank
    repeats[axis[0]] = count[0]
    raw.inputs = [x, int64s(repeats)]


@below(7, "Upsample")
def upsample_factors(raw: RawNode) -> None:
    if "width_scale" in raw.attributes:
        height, width = raw.attributes.pop("height_scale"), raw.attributes.pop("width_scale")
        raw.attributes["scales"] = (1.0, 1.0, float(height), float(width))


@below(4, "Concat")
def concat_axis(raw: RawNode) -> None:
    raw.attributes.setdefault("axis", 1)


@below(7, "LSTM", "GRU", "RNN")
def output_sequence(raw: RawNode) -> None:
    """``output_sequence`` only said whether the first result is wanted."""
    raw.attributes.pop("output_sequence", None)


@below(2, "GlobalLpPool", "LpPool")
def lp_order(raw: RawNode) -> None:
    if "p" in raw.attributes:
        raw.attributes["p"] = int(raw.attributes["p"])


@below(2, "Split")
def split_operand(raw: RawNode) -> None:
    """Opset 1 may give the sizes as an operand already."""
    raw.attributes.setdefault("axis", 0)


@below(7, "Dropout")
def early_dropout(raw: RawNode) -> None:
    raw.attributes.pop("is_test", None)
