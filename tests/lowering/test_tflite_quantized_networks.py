"""Whole quantised networks through LiteRT: made by ONNX Runtime's quantiser, judged by ONNX Runtime without optimisations."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
onnxruntime = pytest.importorskip("onnxruntime")

from edgec.ir.dtypes import DType  # noqa: E402
from edgec.ir.graph import constant  # noqa: E402
from edgec.ir.model import Model  # noqa: E402
from edgec.ir.ops.activation import Relu  # noqa: E402
from edgec.ir.ops.binary import Add  # noqa: E402
from edgec.ir.ops.conv import Conv  # noqa: E402
from edgec.ir.ops.matmul import Gemm  # noqa: E402
from edgec.ir.ops.pooling import GlobalAveragePool, MaxPool  # noqa: E402
from edgec.ir.ops.quantize import DequantizeLinear  # noqa: E402
from edgec.ir.ops.reshape import Flatten  # noqa: E402
from edgec.ir.ops.softmax import Softmax  # noqa: E402
from edgec.ir.ops.unary import Erf  # noqa: E402
from edgec.ir.serial.reader import read_model, read_model_bytes  # noqa: E402
from edgec.ir.serial.writer import model_bytes  # noqa: E402
from edgec.ir.types import TensorType  # noqa: E402
from tests.lowering.tflite_quantized_graphs import Builder, is_whole, lowered, run, steps_apart  # noqa: E402

SHAPE = (1, 3, 24, 24)


def network() -> Model:
    """A float32 network with a residual connection and a depthwise convolution."""
    b = Builder(3)
    g, r = b.graph, b.random

    def numbers(*shape: int) -> Any:
        return constant(r.normal(0, 0.3, shape).astype(np.float32))

    x = g.add_input("x", TensorType(DType.FLOAT, SHAPE))
    a = g.add(Relu(), g.add(Conv(pads=(1, 1, 1, 1), strides=(2, 2)), x, numbers(8, 3, 3, 3), numbers(8)))
    d = g.add(Conv(pads=(1, 1, 1, 1), group=8), a, numbers(8, 1, 3, 3), numbers(8))
    y = g.add(Add(), a, g.add(Conv(), d, numbers(8, 8, 1, 1)))
    y = g.add(GlobalAveragePool(), g.add(MaxPool(kernel_shape=(2, 2), strides=(2, 2)), y))
    y = g.add(Gemm(), g.add(Flatten(), y), numbers(8, 10), numbers(10))
    g.set_outputs([g.add(Softmax(), y)], ["y"])
    return Model(g)


def quantised(folder: Path, activations: str, per_channel: bool, style: str = "QDQ") -> Path:
    """The network as ONNX Runtime quantises it."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    random = np.random.default_rng(0)

    class Samples(CalibrationDataReader):
        left = 4

        def get_next(self) -> Any:
            self.left -= 1
            return {"x": random.normal(size=SHAPE).astype(np.float32)} if self.left >= 0 else None

    source, result = folder / "float.onnx", folder / "quantised.onnx"
    source.write_bytes(model_bytes(network(), opset=17))
    kind = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8, "int16": QuantType.QInt16}[activations]
    extra = {"ActivationSymmetric": activations == "int16"}
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            str(source), str(result), Samples(), quant_format=QuantFormat[style], activation_type=kind, weight_type=QuantType.QInt8,
            per_channel=per_channel, extra_options=extra,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return result


def reference(path: Path, feeds: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


CASES = [("uint8", True, "QDQ"), ("int8", False, "QDQ"), ("int16", True, "QDQ"), ("uint8", False, "QOperator")]


@pytest.mark.parametrize(("activations", "per_channel", "style"), CASES)
@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
def test_network_runs_in_integers(tmp_path: Path, activations: str, per_channel: bool, style: str, xnnpack: bool) -> None:
    path = quantised(tmp_path, activations, per_channel, style)
    model = read_model(path)
    artifact, options = lowered(model, xnnpack=xnnpack)
    assert is_whole(artifact), artifact.facts["quantisation"]
    assert artifact.facts["operators"].get("TRANSPOSE", 0) <= 1  # of the input
    assert not {"DIV", "ROUND", "CAST"} & set(artifact.facts["operators"])
    step = 1 / 256
    for seed in range(3):
        feeds = {"x": np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)}
        assert np.abs(run(artifact, options, feeds)["y"] - reference(path, feeds)).max() <= 3.01 * step


def test_integer_interface(tmp_path: Path) -> None:
    path = quantised(tmp_path, "uint8", True)
    plain, options = lowered(read_model(path))
    whole, integers = lowered(read_model(path), interface="int8")
    assert [s.dtype for s in (*whole.signature.inputs, *whole.signature.outputs)] == [DType.INT8, DType.INT8]
    assert not {"DEQUANTIZE", "MUL"} & set(whole.facts["operators"])
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    at_input, at_output = (whole.facts["quantisation"]["interface"][name] for name in ("x", "y"))
    stored = np.clip(np.rint(x / np.float32(at_input["scale"])) + at_input["zero_point"], -128, 127).astype(np.int8)
    found = run(whole, integers, {"x": stored})["y"]
    assert found.dtype == np.int8
    real = (found.astype(np.float32) - at_output["zero_point"]) * np.float32(at_output["scale"])
    np.testing.assert_allclose(real, run(plain, options, {"x": x})["y"], atol=1.01 * at_output["scale"])


def test_asymmetric_weights_stay_float() -> None:
    b = Builder(0)
    x = b.input((1, 4, 6, 6))
    whole = constant(b.random.integers(-128, 128, (5, 4, 3, 3)).astype(np.int8))
    w = b.graph.add(DequantizeLinear(axis=0), whole, constant(np.float32(0.01)), constant(np.int8(3)))
    model = b.finish(b.graph.add(Conv(), x, w))
    artifact, options = lowered(model)
    [entry] = artifact.facts["quantisation"]["float_operators"]
    assert "zero points" in entry["reason"] or "not quantised constants" in entry["reason"]
    assert steps_apart(model, b.feeds, run(artifact, options, b.feeds)["y"]) <= 1.01
    assert "TRANSPOSE" not in artifact.facts["operators"] or artifact.facts["operators"]["TRANSPOSE"] <= 2


def test_float_island() -> None:
    b = Builder(0)
    y = b.graph.add(Erf(), b.input((2, 50)))
    model = b.finish(b.graph.add(Add(), b.quantised(y, -1, 1), b.input((2, 50))))
    artifact, options = lowered(model)
    assert [f["operator"] for f in artifact.facts["quantisation"]["float_operators"]] == ["Erf"]
    assert artifact.facts["quantisation"]["integer_operators"] == 1
    assert steps_apart(model, b.feeds, run(artifact, options, b.feeds)["y"]) <= 2.01


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_bias_with_another_scale(scale: float) -> None:
    b = Builder(0)
    x, w = b.input((3, 16)), b.weights((10, 16), 0)
    unit = float(x.producer.inputs[1].data.numpy()) * float(w.producer.inputs[1].data.numpy().max())  # type: ignore[union-attr]
    bias = b.graph.add(DequantizeLinear(), constant(b.random.integers(-300, 300, 10).astype(np.int32)), constant(np.float32(unit * scale)))
    model = b.finish(b.graph.add(Gemm(transB=1), x, w, bias))
    artifact, options = lowered(model)
    assert is_whole(artifact)
    assert [loss.kind for loss in artifact.losses] == ["quantisation"]
    assert steps_apart(model, b.feeds, run(artifact, options, b.feeds)["y"]) <= 1.01


def backend_cases() -> list[Any]:
    """The cases of the ONNX suite for quantised operators whose element types LiteRT has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, while the suite computes its cases
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    foreign = ("e4m3", "e5m2", "float4", "int2", "int4", "uint2", "uint4")
    wraps = ("qlinearmatmul_2D_int8", "qlinearmatmul_3D_int8")  # the suite expects values beyond the range to wrap around
    kinds = ("quantizelinear", "qlinear", "integer")
    found = [c for c in cases if any(k in c.name for k in kinds)]
    return [c for c in found if not any(f in c.name for f in foreign) and not any(w in c.name for w in wraps)]


def as_array(value: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def test_suite_of_quantised_operators() -> None:
    cases = backend_cases()
    assert len(cases) > 20
    for case in cases:
        model = read_model_bytes(case.model.SerializeToString())
        artifact, options = lowered(model)
        [(inputs, outputs)] = case.data_sets
        feeds = dict(zip([v.name for v in model.graph.inputs], map(as_array, inputs), strict=True))
        found = run(artifact, options, feeds)
        for array, expected in zip(found.values(), outputs, strict=True):
            np.testing.assert_allclose(array, as_array(expected), rtol=1e-3, atol=1e-7, err_msg=case.name)
