"""Every translation into MIL: the package of a single operator against the operator itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("coremltools")

import edgec
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.coreml.emit.dispatch import judge
from edgec.lowering.coreml.emit.translation import TRANSLATIONS
from edgec.lowering.coreml.versions import Release

RANDOM = np.random.default_rng(7)
F = TensorProto.FLOAT


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> Any:
    """Uniform numbers."""
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def node_model(
    op: str, feeds: Mapping[str, Any], constants: Mapping[str, Any], operands: Sequence[str], outputs: int, attributes: Mapping[str, Any]
) -> Model:
    """A model of one node; the result types are left to inference."""
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(operands), names, name="node", **attributes)
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    results = [onnx.ValueInfoProto(name=name) for name in names]
    initializers = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph([node], "main", inputs, results, initializers)
    return read_model_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11).SerializeToString())


X = floats(2, 4, 6, 6)
HEADS = {name: floats(1, 2, 5, 8) for name in "qkv"}
RECURRENT = (("LSTM", 4, {}), ("LSTM", 4, {"clip": 0.5}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {}), ("RNN", 1, {}))
GATED = {"w": floats(1, 12, 3), "r": floats(1, 12, 4), "b": floats(1, 24), "n": np.array([3, 5], np.int32)}
PLAIN = (
    "Abs Atan Ceil Cos Cosh Erf Exp Floor Neg Relu Round Sigmoid Sign Sin Sinh Asinh Softplus Softsign Tan Tanh Identity IsNaN IsInf "
    "HardSwish Mish Celu Elu LeakyRelu ThresholdedRelu HardSigmoid Selu Shrink Softmax LogSoftmax"
).split()
PAIRED = "Add Sub Mul Div Max Min Greater Less GreaterOrEqual LessOrEqual".split()
BOUNDS = {"s": np.array([-1, 1]), "e": np.array([-9, 99]), "a": np.array([0, 1]), "t": np.array([-2, 2])}
PER_AXIS = {"s": np.array([0.1, 0.2], np.float32), "z": np.array([3, 9], np.uint8)}
CENTRES = np.concatenate([floats(2, 12, 2), floats(2, 12, 2, low=0.5)], axis=2)
MARKS = RANDOM.permutation(np.linspace(0.05, 0.95, 72, dtype=np.float32)).reshape(2, 3, 12)
CHOICE = {"m": np.array(4), "o": np.array(0.3, np.float32)}
SHAPES = {"i": np.array([4, 5]), "b": np.array([2, 2])}
GRID = floats(2, 3, 5, 2, low=-1.4, high=1.4)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str, int, dict[str, Any]]] = [
    *((op, {"x": floats(3, 4)}, {}, "x", 1, {}) for op in PLAIN),
    *((op, {"x": floats(3, 4, low=0.2, high=0.9)}, {}, "x", 1, {}) for op in "Acos Asin Atanh Log Reciprocal Sqrt".split()),
    ("ThresholdedRelu", {"x": np.array([-1.5, 0.5, 1.0, 1.5], np.float32)}, {}, "x", 1, {"alpha": 0.5}),
    ("Acosh", {"x": floats(3, 4, low=1.0, high=9.0)}, {}, "x", 1, {}),
    *((op, {"a": floats(3, 4), "b": floats(4)}, {}, "a b", 1, {}) for op in PAIRED),
    ("Div", {"a": np.array([7, -7, 7, -7], np.int32), "b": np.array([2, 2, -2, -2], np.int32)}, {}, "a b", 1, {}),
    ("Mod", {"a": np.array([7, -7, 7, -7], np.int64), "b": np.array([3, 3, -3, -3], np.int64)}, {}, "a b", 1, {}),
    ("Mod", {"a": floats(4), "b": np.array([0.7, -0.7, 0.3, 0.5], np.float32)}, {}, "a b", 1, {"fmod": 1}),
    ("Pow", {"a": floats(5, low=0.1)}, {"b": np.float32(1.5)}, "a b", 1, {}),
    ("And", {"a": np.array([True, True, False]), "b": np.array([True, False, False])}, {}, "a b", 1, {}),
    ("BitwiseXor", {"a": np.array([5, -3, 2**30], np.int32), "b": np.array([-1, 9, 7], np.int32)}, {}, "a b", 1, {}),
    ("BitwiseNot", {"a": np.array([5, 200], np.uint8)}, {}, "a", 1, {}),
    ("BitShift", {"a": np.array([5, 200, 3], np.uint8), "b": np.array([1, 3, 9], np.uint8)}, {}, "a b", 1, {"direction": "LEFT"}),
    ("Add", {"a": np.array([100, -100], np.int8), "b": np.array([100, -100], np.int8)}, {}, "a b", 1, {}),
    ("Where", {"c": np.array([[True], [False]]), "a": floats(2, 3), "b": floats(3)}, {}, "c a b", 1, {}),
    ("Cast", {"x": np.array([-3.7, 2.5, 300.0], np.float32)}, {}, "x", 1, {"to": TensorProto.INT32}),
    ("Cast", {"x": np.array([-3, 2, 300], np.int32)}, {}, "x", 1, {"to": TensorProto.INT8}),
    ("Cast", {"x": floats(3)}, {}, "x", 1, {"to": TensorProto.BOOL}),
    ("Gelu", {"x": floats(9)}, {}, "x", 1, {}),
    ("Gelu", {"x": floats(9)}, {}, "x", 1, {"approximate": "tanh"}),
    ("PRelu", {"x": X}, {"s": floats(4, 1, 1)}, "x s", 1, {}),
    ("Clip", {"x": X}, {"a": np.float32(-0.5), "b": np.float32(0.5)}, "x a b", 1, {}),
    ("Conv", {"x": X}, {"w": floats(6, 4, 3, 3), "b": floats(6)}, "x w b", 1, {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", {"x": X}, {"w": floats(4, 1, 3, 3)}, "x w", 1, {"group": 4, "dilations": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("Conv", {"x": floats(1, 2, 9)}, {"w": floats(3, 2, 4)}, "x w", 1, {"pads": [-1, 2]}),
    ("Conv", {"x": floats(1, 2, 4, 5, 6), "w": floats(3, 2, 2, 2, 2)}, {}, "x w", 1, {}),
    ("ConvTranspose", {"x": X}, {"w": floats(4, 3, 3, 3), "b": floats(3)}, "x w b", 1, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", {"x": X}, {"w": floats(4, 3, 2, 2), "b": floats(3)}, "x w b", 1, {"strides": [3, 3], "output_padding": [1, 2]}),
    ("ConvTranspose", {"x": X}, {"w": floats(4, 2, 3, 3)}, "x w", 1, {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("MaxPool", {"x": X}, {}, "x", 1, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", {"x": X}, {}, "x", 1, {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1, 0, 1, 1]}),
    ("AveragePool", {"x": X}, {}, "x", 1, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("AveragePool", {"x": X}, {}, "x", 1, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", {"x": X}, {}, "x", 1, {"kernel_shape": [4, 4], "strides": [3, 3], "ceil_mode": 1, "count_include_pad": 1}),
    ("LpPool", {"x": X}, {}, "x", 1, {"kernel_shape": [2, 3], "p": 2}),
    ("GlobalAveragePool", {"x": X}, {}, "x", 1, {}),
    ("GlobalMaxPool", {"x": X}, {}, "x", 1, {}),
    ("LayerNormalization", {"x": floats(2, 3, 8)}, {"s": floats(8), "b": floats(8)}, "x s b", 1, {"axis": -1}),
    ("LayerNormalization", {"x": floats(2, 3, 8), "s": floats(8)}, {}, "x s", 1, {"axis": -1}),
    ("RMSNormalization", {"x": floats(2, 3, 8)}, {"s": floats(8)}, "x s", 1, {}),
    ("InstanceNormalization", {"x": X}, {"s": floats(4), "b": floats(4)}, "x s b", 1, {}),
    ("GroupNormalization", {"x": X}, {"s": floats(4), "b": floats(4)}, "x s b", 1, {"num_groups": 2}),
    ("BatchNormalization", {"x": X}, {"s": floats(4), "b": floats(4), "m": floats(4), "v": floats(4, low=0.5)}, "x s b m v", 1, {}),
    ("LRN", {"x": X}, {}, "x", 1, {"size": 3}),
    ("Gemm", {"a": floats(3, 5)}, {"b": floats(4, 5), "c": floats(4)}, "a b c", 1, {"transB": 1}),
    ("Gemm", {"a": floats(5, 3), "b": floats(5, 4), "c": floats(3, 1)}, {}, "a b c", 1, {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("MatMul", {"a": floats(2, 1, 3, 5), "b": floats(4, 5, 2)}, {}, "a b", 1, {}),
    ("MatMul", {"a": floats(5), "b": floats(2, 5, 3)}, {}, "a b", 1, {}),
    ("Einsum", {"a": floats(2, 3, 4), "b": floats(2, 4, 5)}, {}, "a b", 1, {"equation": "bij,bjk->bki"}),
    *((op, {"x": floats(2, 3, 4)}, {"a": np.array([-1, 0])}, "x a", 1, {"keepdims": k}) for op, k in [("ReduceSum", 0), ("ReduceMax", 1)]),
    *((f"Reduce{op}", {"x": floats(2, 3, 4)}, {"a": np.array([1])}, "x a", 1, {}) for op in "Mean Min Prod L1 L2".split()),
    *((op, {"x": floats(2, 3, 4, low=0.1)}, {}, "x", 1, {}) for op in "ReduceSumSquare ReduceLogSum ReduceLogSumExp".split()),
    ("ArgMax", {"x": np.array([[1, 3, 3], [2, 2, 1]], np.float32)}, {}, "x", 1, {"axis": 1, "select_last_index": 1}),
    ("ArgMin", {"x": floats(3, 5)}, {}, "x", 1, {"axis": 0, "keepdims": 0}),
    ("CumSum", {"x": floats(3, 5)}, {"a": np.int64(1)}, "x a", 1, {"exclusive": 1, "reverse": 1}),
    ("TopK", {"x": floats(3, 9)}, {"k": np.array([4])}, "x k", 2, {}),
    ("TopK", {"x": floats(3, 9)}, {"k": np.array([2])}, "x k", 2, {"largest": 0, "axis": 0}),
    ("Reshape", {"x": floats(2, 6)}, {"s": np.array([3, -1])}, "x s", 1, {}),
    ("Transpose", {"x": floats(2, 3, 4)}, {}, "x", 1, {"perm": [2, 0, 1]}),
    ("Concat", {"a": floats(2, 3), "b": floats(2, 1)}, {}, "a b", 1, {"axis": 1}),
    ("Split", {"x": floats(2, 7)}, {"s": np.array([3, 4])}, "x s", 2, {"axis": 1}),
    ("Slice", {"x": floats(5, 6)}, BOUNDS, "x s e a t", 1, {}),
    ("Slice", {"x": floats(5, 6), "s": np.array([1]), "e": np.array([-2])}, {"a": np.array([1])}, "x s e a", 1, {}),
    ("Pad", {"x": floats(2, 3)}, {"p": np.array([1, 0, 0, 2]), "v": np.float32(7)}, "x p v", 1, {}),
    ("Pad", {"x": floats(3, 4)}, {"p": np.array([2, 1, 0, 3])}, "x p", 1, {"mode": "reflect"}),
    ("Pad", {"x": np.arange(6, dtype=np.int64).reshape(2, 3)}, {"p": np.array([1, 0, 0, 2])}, "x p", 1, {}),
    ("Expand", {"x": floats(3, 1)}, {"s": np.array([2, 1, 4])}, "x s", 1, {}),
    ("Tile", {"x": floats(2, 3)}, {"r": np.array([2, 2])}, "x r", 1, {}),
    ("Gather", {"x": floats(5, 3), "i": np.array([[0, -1], [2, 4]])}, {}, "x i", 1, {}),
    ("Gather", {"x": np.array([[True, False], [False, True]])}, {"i": np.array(1)}, "x i", 1, {"axis": 1}),
    ("GatherElements", {"x": floats(3, 4), "i": np.array([[0, -1], [2, 1]])}, {}, "x i", 1, {"axis": 0}),
    ("GatherND", {"x": floats(2, 3, 4), "i": np.array([[1], [-1]])}, {}, "x i", 1, {"batch_dims": 1}),
    ("ScatterND", {"x": floats(4, 3), "i": np.array([[1], [-1]]), "u": floats(2, 3)}, {}, "x i u", 1, {"reduction": "add"}),
    ("ScatterElements", {"x": floats(3, 4), "i": np.array([[0, -1], [2, 1]]), "u": floats(2, 2)}, {}, "x i u", 1, {"axis": 1}),
    ("OneHot", {"i": np.array([0, -1, 5])}, {"d": np.array(4), "v": np.array([0.5, 2.0], np.float32)}, "i d v", 1, {}),
    ("Trilu", {"x": floats(2, 4, 5)}, {"k": np.array(1)}, "x k", 1, {"upper": 0}),
    ("NonZero", {"x": np.array([[1, 0], [0, 3]], np.float32)}, {}, "x", 1, {}),
    ("ReverseSequence", {"x": floats(4, 3), "l": np.array([2, 4, 1])}, {}, "x l", 1, {"time_axis": 0, "batch_axis": 1}),
    ("DepthToSpace", {"x": floats(2, 8, 2, 3)}, {}, "x", 1, {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", {"x": floats(2, 8, 2, 3)}, {}, "x", 1, {"blocksize": 2}),
    ("SpaceToDepth", {"x": floats(2, 2, 4, 6)}, {}, "x", 1, {"blocksize": 2}),
    ("QuantizeLinear", {"x": floats(3, 4)}, {"s": np.float32(0.02), "z": np.uint8(120)}, "x s z", 1, {}),
    ("DequantizeLinear", {"x": np.array([[1, 200]], np.uint8)}, PER_AXIS, "x s z", 1, {"axis": 1}),
    ("DequantizeLinear", {"x": np.array([70000], np.int32)}, {"s": np.float32(0.1)}, "x s", 1, {}),
    *(
        (op, {"x": floats(5, 2, 3)}, {"w": floats(2, gates * 4, 3), "r": floats(2, gates * 4, 4), "b": floats(2, gates * 8)}, "x w r b", 2,
         {"hidden_size": 4, "direction": "bidirectional"} | extra)
        for op, gates, extra in RECURRENT
    ),
    ("GRU", {"x": floats(5, 2, 3), **GATED}, {}, "x w r b n", 2, {"hidden_size": 4, "direction": "reverse"}),
    ("Attention", HEADS, {}, "q k v", 1, {"is_causal": 1, "scale": 0.2}),
    ("NonMaxSuppression", {"b": CENTRES, "s": MARKS}, CHOICE, "b s m o", 1, {"center_point_box": 1}),
    ("NonMaxSuppression", {"b": CENTRES, "s": MARKS, "t": np.float32(0.4)}, CHOICE, "b s m o t", 1, {}),
    *(("GridSample", {"x": X, "g": GRID}, {}, "x g", 1, {"padding_mode": p, "align_corners": a})
      for p in ("zeros", "border", "reflection") for a in (0, 1)),
    *(("GridSample", {"x": X, "g": GRID}, {}, "x g", 1, {"padding_mode": p, "mode": m})
      for p in ("zeros", "border", "reflection") for m in ("nearest", "cubic")),
    ("GridSample", {"x": floats(1, 2, 3, 4, 5), "g": floats(1, 2, 2, 3, 3)}, {}, "x g", 1, {}),
    ("Compress", {"x": floats(3, 4), "c": np.array([True, False, True])}, {}, "x c", 1, {"axis": 0}),
    ("LpNormalization", {"x": np.array([[3, 4], [0, 0]], np.float32)}, {}, "x", 1, {"p": 2}),
    ("EyeLike", {"x": np.zeros((3, 5), np.int32)}, {}, "x", 1, {"k": 1, "dtype": F}),
    ("Col2Im", {"x": floats(2, 12, 6)}, SHAPES, "x i b", 1, {"strides": [2, 2], "pads": [1, 0, 1, 0]}),
]  # fmt: skip
RESIZES = [
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "nearest"},
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "cubic"},
    {"mode": "linear", "antialias": 1},
]


def check(model: Model, feeds: Mapping[str, Any], folder: Path, **options: Any) -> list[str]:
    """Compile, run, compare with the interpreter; gives the MIL operators."""
    expected = interpret(model, feeds)
    bundle = edgec.compile(model, target="coreml", output=folder / "bundle", options=options)
    results = bundle.run(feeds)
    for name, want in expected.items():
        got = results[name]
        assert got.dtype == want.dtype and got.shape == want.shape
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=3e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)
    return mil_types(bundle.folder)


def mil_types(folder: Path) -> list[str]:
    """The operators of the package, constants left out."""
    import coremltools

    spec = coremltools.utils.load_spec(str(folder / "model.mlpackage"))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return [op.type for op in block.operations if op.type != "const"]


def merged_model(chosen: Sequence[int]) -> tuple[Model, dict[str, Any]]:
    """One model of many independent nodes, and its feeds: converting is quicker than starting to convert."""
    nodes, inputs, outputs, initializers = [], [], [], []
    merged: dict[str, Any] = {}
    for number in chosen:
        op, feeds, constants, operands, count, attributes = CASES[number]
        results = [f"{op}_{number}_y{i}" for i in range(count)]
        nodes.append(helper.make_node(op, [f"n{number}_{name}" for name in operands.split()], results, name=f"{op}_{number}", **attributes))
        for name, array in feeds.items():
            merged[f"n{number}_{name}"] = array
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            inputs.append(helper.make_tensor_value_info(f"n{number}_{name}", kind, array.shape))
        outputs += [onnx.ValueInfoProto(name=name) for name in results]
        initializers += [onnx.numpy_helper.from_array(np.asarray(array), f"n{number}_{name}") for name, array in constants.items()]
    graph = helper.make_graph(nodes, "main", inputs, outputs, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    return read_model_bytes(proto.SerializeToString()), merged


@pytest.mark.parametrize("first", range(0, len(CASES), 15))
def test_operators(first: int, tmp_path: Path) -> None:
    model, feeds = merged_model(range(first, min(first + 15, len(CASES))))
    check(model, feeds, tmp_path)


@pytest.mark.parametrize("target", ["iOS15", "iOS16", "iOS18"])
def test_operators_on_other_releases(target: str, tmp_path: Path) -> None:
    names = [case[0] for case in CASES]
    chosen = ["QuantizeLinear", "LayerNormalization", "Attention", "Conv", "LSTM", "GatherND", "Gelu", "TopK", "Slice"]
    model, feeds = merged_model([names.index(op) for op in chosen])
    found = check(model, feeds, tmp_path, minimum_target=target)
    assert "layer_norm" in found
    assert ("scaled_dot_product_attention" in found) == (target == "iOS18")
    assert ("quantize" in found) == (target == "iOS18")


@pytest.mark.parametrize("attributes", RESIZES, ids=lambda a: "-".join(map(str, a.values())))
@pytest.mark.parametrize("factor", [2.0, 0.6])
def test_resize(attributes: dict[str, Any], factor: float, tmp_path: Path) -> None:
    x = floats(1, 2, 5, 7)
    constants = {"r": np.zeros(0, np.float32), "s": np.array([1, 1, factor, factor], np.float32)}
    found = check(node_model("Resize", {"x": x}, constants, ["x", "r", "s"], 1, attributes), {"x": x}, tmp_path)
    if attributes == {"mode": "linear"} and factor == 2.0:
        assert "resize_bilinear" in found
    if attributes["mode"] == "nearest" and factor == 2.0:
        assert "upsample_nearest_neighbor" in found


def test_quantised_weights_stay_compressed(tmp_path: Path) -> None:
    """A DequantizeLinear of constants becomes a constexpr since iOS16, and floats before."""
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), helper.make_node("Conv", ["x", "w"], ["y"])]
    q = RANDOM.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    constants = {"q": q, "s": floats(4, low=0.01), "z": np.zeros(4, np.int8)}
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", F, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", F, None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = read_model_bytes(proto.SerializeToString())
    x = floats(1, 3, 8, 8)
    assert "constexpr_affine_dequantize" in check(model, {"x": x}, tmp_path / "new")
    assert "constexpr_affine_dequantize" not in check(model, {"x": x}, tmp_path / "old", minimum_target="iOS15")


def test_transposes_of_six_dimensions_go_through_fewer(tmp_path: Path) -> None:
    """Windows of images, and a permutation in which no axes stay together."""
    cases = (
        ((0, 1, 3, 2, 4, 5), (1, 2, 3, 2, 3, 4), 144),
        ((5, 2, 0, 4, 1, 3), (2, 3, 2, 3, 2, 2), 144),
        ((1, 0, 3, 2, 5, 4), (-1, 3, 2, 3, 2, 2), "n"),
    )
    for perm, shape, size in cases:
        x = floats(144)
        nodes = [
            helper.make_node("Reshape", ["x", "s"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=perm),
            helper.make_node("Reshape", ["b", "t"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "main",
            [helper.make_tensor_value_info("x", F, [size])],
            [helper.make_tensor_value_info("y", F, None)],
            [onnx.numpy_helper.from_array(np.array(v), n) for n, v in (("s", shape), ("t", (-1, 6)))],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        check(read_model_bytes(proto.SerializeToString()), {"x": x}, tmp_path / str(perm[0]))


def test_branches_and_loops(tmp_path: Path) -> None:
    """A choice at run time, and a loop whose number of rounds is an input."""
    text = """
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[4] x, bool c, int64 n) => (float[4] y, float[4] z) {
            y = If (c) <
                then_branch = t () => (float[4] a) { a = Exp (x) },
                else_branch = f () => (float[4] b) { k = Neg (x) b = Mul (k, x) }
            >
            again = Constant <value = bool {1}> ()
            z = Loop (n, again, x) <
                body = step (int64 i, bool go, float[4] h) => (bool go2, float[4] h2) {
                    go2 = Identity (go)
                    d = Tanh (h)
                    h2 = Add (d, x)
                }
            >
        }
    """
    model = read_model_bytes(onnx.parser.parse_model(text).SerializeToString())
    x = floats(4)
    for chosen in (True, False):
        found = check(model, {"x": x, "c": np.array(chosen), "n": np.array(3)}, tmp_path / str(chosen))
        assert {"cond", "while_loop"} <= set(found)


def test_choices_of_unknown_size(tmp_path: Path) -> None:
    """MIL's select broadcasts nothing: operands are brought to one shape at run time."""
    nodes = [helper.make_node("Greater", ["x", "z"], ["c"]), helper.make_node("Where", ["c", "x", "k"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", F, ["n", 3])],
        [helper.make_tensor_value_info("y", F, None)],
        [onnx.numpy_helper.from_array(np.float32(v), n) for n, v in (("z", 0.0), ("k", -7.0))],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    check(read_model_bytes(proto.SerializeToString()), {"x": floats(5, 3)}, tmp_path)


def test_no_box_passes_the_threshold(tmp_path: Path) -> None:
    """MIL chooses the best box all the same; it has to be left out, so that every other box is told from none."""
    feeds = {"b": CENTRES, "s": np.where(MARKS < 0.9, np.float32(0), MARKS), "t": np.array([0.5], np.float32)}
    model = node_model("NonMaxSuppression", feeds, CHOICE, ["b", "s", "m", "o", "t"], 1, {"center_point_box": 1})
    assert "non_maximum_suppression" in check(model, feeds, tmp_path)
    assert len(interpret(model, feeds)["y0"]) < 6


def test_unknown_sizes(tmp_path: Path) -> None:
    """What works for any size: pads of other axes, MIL's own padding, repeated rows, dimensions that must be one."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
        make("Resize", ["a", "", "r"], ["b"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        make("ReduceMean", ["b", "axis"], ["c"], keepdims=0),
        make("Pad", ["c", "p"], ["d"], mode="reflect"),
        make("Concat", ["u", "v"], ["e"], axis=1),
        make("Squeeze", ["u", "axis"], ["y1"]),
        make("Shape", ["x"], ["s"]),
        make("Expand", ["one", "s"], ["f"]),
        make("Pad", ["x", "q"], ["g"], mode="edge"),
        make("MaxPool", ["x"], ["i"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        make("ConvTranspose", ["x", "t"], ["j"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0]),
        make("Reshape", ["x", "flat"], ["k"]),
        make("GatherND", ["x", "at"], ["l"]),
    ]
    constants = {"w": floats(4, 2, 3, 3), "r": np.array([1, 1, 2, 3], np.float32), "axis": np.array([2]), "p": np.array([0, 1, 0, 0, 2, 0])}
    constants |= {"one": floats(2, 1, 1), "q": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "t": floats(2, 3, 3, 3)}
    constants |= {"flat": np.array([0, 2, 1, 0, -1]), "at": np.array([[-1, 0], [0, 1]])}
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(n, F, s) for n, s in (("x", ["n", 2, "h", "w"]), ("u", ["n", 2, "k"]), ("v", ["n", 3, 1]))],
        [helper.make_tensor_value_info(n, F, None) for n in ("b", "d", "e", "y1", *"fgijkl")],
        [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = read_model_bytes(proto.SerializeToString())
    for size in (5, 6):
        feeds = {"x": floats(2, 2, size, 7), "u": floats(2, 2, 1), "v": floats(2, 3, 1)}
        found = check(model, feeds, tmp_path / str(size))
    assert "upsample_nearest_neighbor" in found and "conv" in found


@pytest.mark.parametrize("to", ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ"])
def test_small_floats_round_once(to: str, tmp_path: Path) -> None:
    """Ties, numbers below the least normal one, overflow, infinity and NaN."""
    special = np.array([0.0, 1.0625, -1.1875, 1e-3, -3e-8, 1e30, 460.0, 6e4, -np.inf, np.inf, np.nan], np.float32)
    x = np.concatenate([special, floats(64, low=-300, high=300)])
    nodes = [helper.make_node("Cast", ["x"], ["s"], to=getattr(TensorProto, to)), helper.make_node("Cast", ["s"], ["y"], to=F)]
    graph = helper.make_graph(
        nodes, "main", [helper.make_tensor_value_info("x", F, x.shape)], [helper.make_tensor_value_info("y", F, x.shape)]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = read_model_bytes(proto.SerializeToString())
    expected = interpret(model, {"x": x})["y"]
    got = edgec.compile(model, target="coreml", output=tmp_path / "b").run({"x": x})["y"]
    np.testing.assert_array_equal(got, expected)


def test_rows_are_truthful_about_releases() -> None:
    """A translation that starts late does not serve an earlier target."""
    late = [t for found in TRANSLATIONS.values() for t in found if t.since > Release.IOS15]
    assert {t.since for t in late} == {Release.IOS17, Release.IOS18}
    model = node_model("Attention", {n: floats(1, 2, 4, 8) for n in "qkv"}, {}, ["q", "k", "v"], 1, {})
    (node,) = model.graph
    assert judge(node, Release.IOS18).level == "native"
    early = judge(node, Release.IOS17)
    assert early.level == "none" and "iOS18" in early.reason
