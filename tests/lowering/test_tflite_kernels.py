"""Operators of the TFLite target, executed in LiteRT: the cases of the ONNX backend suite, and shapes at the limits of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from onnx import numpy_helper

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.freeze import freeze_inputs
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import OPS, Op
from edgec.ir.ops.activation import Mish, Softplus
from edgec.ir.ops.binary import Add, Max, Mod, Mul
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Concat, Pad
from edgec.ir.ops.gather import Gather, GatherElements
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.reduction import ReduceMax, ReduceSum
from edgec.ir.ops.reshape import Expand
from edgec.ir.ops.scatter import ScatterElements
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.unary import Erf
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import TensorType
from tests.ir.ops.backend_cases import cases_of

ELEMENTWISE = "Add Sub Mul Div Pow Mod Max Min Sum Mean Abs Neg Sign Sqrt Reciprocal Erf Round Tan"
ACTIVATIONS = "Relu LeakyRelu PRelu Elu Selu Celu Gelu HardSigmoid HardSwish Sigmoid Softmax LogSoftmax Softplus Clip Mish Swish"
LOGIC = "Equal Less Greater GreaterOrEqual LessOrEqual And Or Xor Not Where IsNaN IsInf"
REDUCTIONS = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ArgMax ArgMin CumSum TopK"
MOVEMENT = "Concat Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Expand Tile Pad Shape Size"
INDEXING = "Gather GatherElements GatherND ScatterElements ScatterND OneHot Range"
PRODUCTS = "MatMul Gemm LayerNormalization RMSNormalization RotaryEmbedding"
FORGIVEN = {"dtype", "string", "zero-size", "dynamic-rank", "dynamic-shape", "int64-range", "sequence"}


def run_case(case: Any, folder: Path) -> bool:
    """Run a case of the suite; False when the target refuses it for the element types or sizes that it has."""
    proto = case.model
    for number, (inputs, expected) in enumerate(case.data_sets):
        feeds = {v.name: _array(x) for v, x in zip(proto.graph.input, inputs, strict=False)}
        op = OPS[proto.graph.node[0].domain, proto.graph.node[0].op_type]
        names = proto.graph.node[0].input
        model = read_model_bytes(proto.SerializeToString())
        given = {names[i]: feeds.pop(names[i]) for i in op.shape_operands if i < len(names) and names[i] in feeds}
        bound = {name: array if array.dtype.kind in "biuf" else array.astype(np.float32) for name, array in given.items()}
        try:
            bundle = edgec.compile(freeze_inputs(model, bound) if bound else model, target="tflite", output=folder / str(number))
        except Diagnostic as error:
            forgiven = FORGIVEN | {"attribute"} if op.op_name.startswith("Scatter") else FORGIVEN
            assert error.code == "E0501" and getattr(error, "reason_code", "") in forgiven, error
            return False
        found = bundle.run({name: array for name, array in feeds.items() if name in {s.name for s in bundle.signature.inputs}})
        for output, wanted in zip(proto.graph.output, expected, strict=True):
            array, wanted = found[output.name], _array(wanted)
            assert array.dtype == wanted.dtype and array.shape == wanted.shape
            if array.dtype.kind not in "iubf":
                array, wanted = array.astype(np.float32), wanted.astype(np.float32)
            np.testing.assert_allclose(array, wanted, rtol=case.rtol, atol=case.atol)
    return True


def _array(held: Any) -> Any:
    return numpy_helper.to_array(held) if hasattr(held, "SerializeToString") else np.asarray(held)


@pytest.mark.parametrize("family", [ELEMENTWISE, ACTIVATIONS, LOGIC, REDUCTIONS, MOVEMENT, INDEXING, PRODUCTS])
def test_the_cases_of_the_suite(family: str, tmp_path: Path) -> None:
    for name in family.split():
        cases = cases_of([name])[:4]
        ran = [run_case(case, tmp_path / case.name) for case in cases]
        assert any(ran), name


# -- single operators with shapes and numbers of our own --------------------------------------------------------------------
def check(op: Op, operands: Sequence[Any], folder: Path, *, fixed: Sequence[int] = (), free: bool = False, rtol: float = 1e-5) -> None:
    """Run an operator in LiteRT and compare with its own evaluation.

    Args:
        op: the operator.
        operands: arrays, None for absent ones.
        folder: where the bundle goes.
        fixed: positions of the operands that are constants.
        free: whether the sizes of the inputs are symbols.
        rtol: the relative tolerance.
    """
    graph, feeds, values = Graph(), {}, []
    for index, array in enumerate(operands):
        if array is None:
            values.append(None)
        elif index in fixed:
            values.append(int64s(array.tolist()) if array.dtype == np.int64 and array.ndim == 1 else constant(array))
        else:
            shape = tuple(symbol(f"d{index}_{i}") if free else d for i, d in enumerate(array.shape))
            values.append(graph.add_input(f"x{index}", TensorType(DType.from_numpy(array.dtype), shape)))
            feeds[f"x{index}"] = array
    results = graph.add(op, *values)
    results = results if isinstance(results, tuple) else (results,)
    graph.set_outputs(results, [f"y{i}" for i in range(len(results))])
    expected = interpret(graph, feeds)
    found = edgec.compile(Model(graph), target="tflite", output=folder / "bundle").run(feeds)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_allclose(found[name].astype(np.float64), array.astype(np.float64), rtol=rtol, atol=1e-6)


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


HIGH = (2, 1, 2, 3, 1, 2, 2)
SINGLE = {
    "erf": (Erf(), [np.linspace(-6, 6, 1001, dtype=np.float32)], {"rtol": 2e-6}),
    "softplus": (Softplus(), [np.linspace(-60, 60, 601, dtype=np.float32)], {"rtol": 2e-6}),
    "mish": (Mish(), [np.linspace(-40, 60, 601, dtype=np.float32)], {"rtol": 1e-5}),
    "add of rank 7": (Add(), [numbers(*HIGH), numbers(2, 2)], {}),
    "concat of rank 7": (Concat(axis=3), [numbers(*HIGH), numbers(*HIGH, seed=1)], {}),
    "softmax of rank 7": (Softmax(axis=-1), [numbers(*HIGH)], {}),
    "softmax along the first axis": (Softmax(axis=0), [numbers(3, 4, 5)], {}),
    "pad of rank 6": (Pad(), [numbers(2, 2, 2, 2, 2, 3), np.array([0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0]), np.float32(7)], {"fixed": (1, 2)}),
    "edge pad": (Pad(mode="edge"), [numbers(2, 3, 4), np.array([0, 2, 1, 0, 0, 3])], {"fixed": (1,), "free": True}),
    "wrap pad": (Pad(mode="wrap"), [numbers(3, 4), np.array([2, 1, 3, 4])], {"fixed": (1,)}),
    "crop and pad": (Pad(), [numbers(5, 4), np.array([-1, 2, 1, -3])], {"fixed": (1,)}),
    "pads at run time": (Pad(), [numbers(5, 4), np.array([1, 2, 0, 3])], {}),
    "gather from the end": (Gather(axis=1), [numbers(3, 5), np.array([[-1, 0], [4, -5]])], {}),
    "gather of a dynamic tensor": (Gather(axis=1), [numbers(3, 5), np.array([[-1, 0], [4, -5]])], {"free": True}),
    "gather elements": (GatherElements(axis=1), [numbers(3, 5), np.array([[-1, 0, 2], [4, -5, 1]])], {"free": True}),
    "scatter elements": (ScatterElements(axis=1), [numbers(3, 5), np.array([[-1, 0], [4, 2]]), numbers(2, 2)], {}),
    "slice backwards": (Slice(), [numbers(6, 5), *map(np.array, ([-1, 4], [-100, 0], [0, 1], [-2, -1]))], {"fixed": (1, 2, 3, 4)}),
    "slice at run time": (Slice(), [numbers(6, 5), np.array([1]), np.array([2**62]), np.array([1])], {"fixed": (3,)}),
    "expand both ways": (Expand(), [numbers(3, 1), np.array([2, 1, 4])], {"fixed": (1,), "free": True}),
    "matrix times vector": (MatMul(), [numbers(2, 3, 4), numbers(4)], {}),
    "vector times matrices": (MatMul(), [numbers(4), numbers(2, 4, 3)], {}),
    "product of rank 5": (MatMul(), [numbers(2, 1, 2, 3, 4), numbers(3, 1, 4, 2)], {}),
    "greatest of integers": (ReduceMax(keepdims=0), [np.arange(12).reshape(3, 4), np.array([1])], {"fixed": (1,)}),
    "sum of float16": (ReduceSum(), [numbers(3, 40).astype(np.float16), np.array([1])], {"fixed": (1,), "rtol": 1e-3}),
    "products of int64": (Mul(), [np.array([2**40, -3]), np.array([5, 2**33])], {}),
    "maximum of three": (Max(), [numbers(3), numbers(2, 1, seed=1), numbers(2, 3, seed=2)], {}),
    "remainder with the dividend's sign": (Mod(fmod=1), [np.array([-7, 7, -8, 5]), np.array([3, -3, 2, 7])], {}),
    "float remainder": (Mod(fmod=1), [np.array([-7.5, 7.5, -8.0], np.float32), np.array([2, -2, 2], np.float32)], {}),
    "cast to bfloat16 and back": (Cast(to=DType.BFLOAT16), [numbers(50)], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_single_operators(name: str, tmp_path: Path) -> None:
    op, operands, options = SINGLE[name]
    check(op, operands, tmp_path, **options)
