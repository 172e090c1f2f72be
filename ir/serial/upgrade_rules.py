"""Upgrades of opsets 7 and later."""

from __future__ import annotations

import numpy as np

from ..data import TensorData
from ..diagnostics import E_ATTRIBUTE, Diagnostic
from ..dtypes import DType
from ..graph import Value, constant, int64s
from ..ops.activation import Hardmax
from ..ops.binary import Div
from ..ops.concat import Concat
from ..ops.reshape import Expand, Flatten, Reshape, Shape
from ..ops.softmax import LogSoftmax, Softmax
from .upgrade import RawNode, below

ALWAYS = 1 << 30
NORMALISERS = {"Softmax": Softmax, "LogSoftmax": LogSoftmax, "Hardmax": Hardmax}
REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare",
)  # fmt: skip


@below(ALWAYS, "Constant")
def constant_node(raw: RawNode) -> list[Value] | None:
    """A Constant node becomes a constant value; all its attribute forms are read."""
    if len(raw.attributes) != 1:
        raise Diagnostic(E_ATTRIBUTE, f"Constant needs one value attribute, it has {sorted(raw.attributes)}", raw.where)
    ((kind, value),) = raw.attributes.items()
    name = raw.outputs[0]
    if isinstance(value, TensorData):
        return [constant(value, name)]
    if kind in ("value_float", "value_floats"):
        return [constant(np.asarray(value, np.float32), name)]
    if kind in ("value_int", "value_ints"):
        return [constant(np.asarray(value, np.int64), name)]
    return [constant(np.asarray(value, object), name, DType.STRING)]


@below(13, "Squeeze", "Unsqueeze")
def axes_to_operand(raw: RawNode) -> None:
    raw.attribute_to_ints("axes", 1)


@below(13, "ReduceSum")
@below(18, *REDUCTIONS)
def reduction_axes(raw: RawNode) -> None:
    raw.attribute_to_ints("axes", 1)


@below(13, "Softmax", "LogSoftmax", "Hardmax")
def flattening_softmax(raw: RawNode) -> list[Value] | None:
    """Before opset 13 the operand is flattened to two dimensions at ``axis`` (default 1) and normalised over the second."""
    axis = raw.attributes.get("axis", 1)
    x = raw.input(0)
    rank = x.rank
    if rank is not None and axis in (rank - 1, -1):
        raw.attributes["axis"] = -1
        return None
    shape = raw.add(Shape(), x)
    flat = raw.add(Flatten(axis=axis), x)
    normal = raw.add(NORMALISERS[raw.op_type](axis=-1), flat)
    return raw.result(Reshape(), normal, shape)


@below(13, "Split")
def split_sizes(raw: RawNode) -> None:
    raw.attribute_to_ints("split", 1)


@below(18, "Split")
def split_count(raw: RawNode) -> None:
    """Without sizes the operand is cut into as many parts as there are results."""
    if len(raw.inputs) < 2 or raw.inputs[1] is None:
        raw.attributes["num_outputs"] = len(raw.outputs)


@below(12, "Dropout")
def dropout_ratio(raw: RawNode) -> None:
    ratio = raw.attributes.pop("ratio", 0.5)
    raw.attributes.pop("is_test", None)
    raw.set_input(1, raw.scalar(ratio, DType.FLOAT))


@below(11, "Clip")
def clip_bounds(raw: RawNode) -> None:
    dtype = raw.input(0).dtype or DType.FLOAT
    for index, attribute in ((1, "min"), (2, "max")):
        bound = raw.attributes.pop(attribute, None)
        if bound is not None and abs(bound) < 3.4028234e38:
            raw.set_input(index, raw.scalar(bound, dtype))


@below(11, "Pad")
def pad_operands(raw: RawNode) -> None:
    raw.attribute_to_ints("pads", 1)
    value = raw.attributes.pop("value", 0.0)
    if raw.attributes.get("mode", "constant") == "constant":
        raw.set_input(2, raw.scalar(value, raw.input(0).dtype or DType.FLOAT))


@below(10, "Slice")
def slice_operands(raw: RawNode) -> None:
    for index, attribute in ((1, "starts"), (2, "ends"), (3, "axes")):
        raw.attribute_to_ints(attribute, index)


@below(10, "TopK")
def top_k_operand(raw: RawNode) -> None:
    raw.attribute_to_ints("k", 1)


@below(9, "BatchNormalization")
def batch_normalization_spatial(raw: RawNode) -> None:
    if not raw.attributes.pop("spatial", 1):
        raise Diagnostic(E_ATTRIBUTE, "BatchNormalization with spatial=0 is not supported", raw.where)


@below(14, "BatchNormalization")
def batch_normalization_results(raw: RawNode) -> None:
    """Before opset 14 results beyond the first meant training; inference exports name only the first."""
    if len([o for o in raw.outputs if o]) > 1:
        raw.attributes["training_mode"] = 1
        del raw.outputs[3:]
    else:
        del raw.outputs[1:]


@below(10, "Upsample")
def upsample_to_resize(raw: RawNode) -> None:
    """Upsample became Resize; positions are mapped asymmetrically and rounded down."""
    if "scales" in raw.attributes:
        raw.set_input(1, constant(np.asarray(raw.attributes.pop("scales"), np.float32)))
    mode = raw.attributes.get("mode", "nearest")
    raw.op_type = "Resize"
    raw.attributes = {
        "mode": "linear" if mode in ("linear", "bilinear") else mode,
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    raw.inputs = [raw.input(0), None, raw.input(1)]
    raw.version = 11


@below(ALWAYS, "Upsample")
def late_upsample(raw: RawNode) -> None:
    """Upsample is deprecated since opset 10, yet some exporters still write it."""
    upsample_to_resize(raw)


@below(11, "Resize")
def resize_ten(raw: RawNode) -> None:
    """Opset 10 maps positions asymmetrically; nearest rounds down when enlarging and up when shrinking."""
    scales = raw.inputs[1]
    mode = raw.attributes.get("mode", "nearest")
    factors = scales.data.numpy() if scales is not None and scales.data is not None else None
    shrinks = factors is not None and bool((factors <= 1).all()) and bool((factors < 1).any())
    raw.attributes["coordinate_transformation_mode"] = "asymmetric"
    raw.attributes["nearest_mode"] = "ceil" if shrinks and mode == "nearest" else "floor"
    raw.inputs = [raw.inputs[0], None, scales]


@below(18, "Resize")
def resize_operands(raw: RawNode) -> None:
    """Empty roi, scales and sizes tensors mean absent ones."""
    for index in (1, 2, 3):
        if index < len(raw.inputs):
            value = raw.inputs[index]
            if value is not None and value.shape == (0,):
                raw.inputs[index] = None


@below(11, "Scatter")
def scatter(raw: RawNode) -> None:
    raw.op_type = "ScatterElements"


@below(ALWAYS, "Scatter")
def late_scatter(raw: RawNode) -> None:
    raw.op_type = "ScatterElements"


@below(20, "GridSample")
def grid_sample_mode(raw: RawNode) -> None:
    mode = raw.attributes.get("mode", "bilinear")
    raw.attributes["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)


@below(20, "DFT")
def dft_axis(raw: RawNode) -> None:
    axis = raw.attributes.pop("axis", 1)
    raw.set_input(2, raw.scalar(axis, DType.INT64))


@below(21, "GroupNormalization")
def group_normalization_parameters(raw: RawNode) -> None:
    """Opset 18 has one scale and bias per group, opset 21 one per channel."""
    x = raw.input(0)
    groups = raw.attributes["num_groups"]
    channels = x.shape[1] if x.shape is not None and len(x.shape) > 1 else None
    for index in (1, 2):
        parameter = raw.input(index)
        column = raw.add(Reshape(), parameter, int64s((groups, 1)))
        if isinstance(channels, int):
            target: Value = int64s((groups, channels // groups))
        else:
            size = raw.add(Shape(start=1, end=2), x)
            each = raw.add(Div(), size, int64s((groups,)))
            target = raw.add(Concat(axis=0), int64s((groups,)), each)
        raw.inputs[index] = raw.add(Reshape(), raw.add(Expand(), column, target), int64s((-1,)))


@below(9, "Scan")
def batched_scan(raw: RawNode) -> None:
    """Scan of opset 8 has a batch axis and sequence lengths; it is carried as it is."""
    raw.keep_opaque = True


@below(6, "Cast")
def cast_target(raw: RawNode) -> None:
    """Opset 1 names the type by text."""
    from onnx import TensorProto

    target = raw.attributes.get("to")
    if isinstance(target, str):
        try:
            raw.attributes["to"] = TensorProto.DataType.Value(target.upper())
        except ValueError:
            raise Diagnostic(E_ATTRIBUTE, f"Cast to the unknown type {target!r}", raw.where) from None
