"""Bits, inverse functions, selections and boxes of the TFLite target, executed in LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import edgec
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Relu
from edgec.ir.ops.binary import BitShift, Max, Mul
from edgec.ir.ops.cast import BitCast
from edgec.ir.ops.concat import Concat, Split
from edgec.ir.ops.detection import NonMaxSuppression
from edgec.ir.ops.generate import Trilu
from edgec.ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor, Less
from edgec.ir.ops.quantized_products import ConvInteger, MatMulInteger
from edgec.ir.ops.scatter import ScatterElements
from edgec.ir.ops.selection import NonZero, Unique
from edgec.ir.ops.unary import Acosh, Asin, Asinh, Atan, Atanh, BitwiseNot, Cosh, Sinh
from edgec.ir.types import TensorType
from tests.ir.ops.backend_cases import cases_of
from tests.lowering.test_tflite_kernels import check, numbers, run_case

FAMILIES = (
    "BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitCast",
    "Acos Acosh Asin Asinh Atan Atanh Cosh Sinh",
    "Trilu CumProd Det TensorScatter LinearAttention CausalConvWithState",
    "NonZero ReverseSequence DeformConv MaxUnpool ConvInteger MatMulInteger",
)
WORDS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cases_of_the_suite(family: str, tmp_path: Path) -> None:
    for name in family.split():
        cases = cases_of([name])[:4]
        assert any([run_case(case, tmp_path / case.name) for case in cases]), name


def edges(dtype: Any, seed: int) -> Any:
    """Integers of a type, its bounds among them."""
    limits = np.iinfo(dtype)
    drawn = np.random.default_rng(seed).integers(limits.min, limits.max, 28, dtype, endpoint=True)
    return np.concatenate([drawn, np.array([limits.min, limits.max, 0, 1], dtype)])


@pytest.mark.parametrize("dtype", WORDS)
def test_bits_of_every_width(dtype: Any, tmp_path: Path) -> None:
    x, y = edges(dtype, 0), edges(dtype, 1)[::-1].copy()
    bits = np.dtype(dtype).itemsize * 8
    counts = np.arange(32).astype(dtype) % dtype(bits)
    for i, op in enumerate((BitwiseAnd(), BitwiseOr(), BitwiseXor(), BitwiseNot())):
        check(op, [x] if isinstance(op, BitwiseNot) else [x, y], tmp_path / str(i))
    check(BitShift(direction="LEFT"), [x, counts], tmp_path / "left")
    if bits < 64:
        check(BitShift(direction="RIGHT"), [x, counts], tmp_path / "right")
    other = {1: DType.INT8, 2: DType.UINT16, 4: DType.INT32, 8: DType.INT64}[np.dtype(dtype).itemsize]
    check(BitCast(to=other), [x], tmp_path / "cast")


def test_unsigned_words_of_64_bits(tmp_path: Path) -> None:
    x, y = edges(np.uint64, 2), edges(np.uint64, 3)[::-1].copy()
    for i, op in enumerate((Mul(), Max(), Less())):
        check(op, [x, y], tmp_path / str(i))


INVERSE = {
    "asin": (Asin(), np.linspace(-1, 1, 301)), "atan": (Atan(), np.array([-np.inf, -1e30, -2, -1e-6, 0, 1e-30, 3, np.inf])),
    "sinh": (Sinh(), np.concatenate([np.linspace(-88, 88, 301), [1e-6, -1e-20, 0, 89]])), "cosh": (Cosh(), np.linspace(-89, 89, 301)),
    "asinh": (Asinh(), np.array([-np.inf, -1e30, -5, -1e-5, 0, 1e-12, 0.3, 1e9, 1e20])),
    "acosh": (Acosh(), np.array([1, 1.0000001, 1.5, 100, 1e9, 1e30, np.inf])),
    "atanh": (Atanh(), np.array([-1, -0.999999, -1e-6, 0, 1e-20, 0.5, 1])),
}  # fmt: skip


@pytest.mark.parametrize("name", INVERSE)
def test_functions_at_their_limits(name: str, tmp_path: Path) -> None:
    op, x = INVERSE[name]
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, x.shape))
    graph.set_outputs([graph.add(op, value)], ["y"])
    feeds = {"x": x.astype(np.float32)}
    found = edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle").run(feeds)["y"]
    with np.errstate(all="ignore"):
        exact = getattr(np, name.replace("a", "arc", 1) if name.startswith("a") else name)
        wanted = exact(feeds["x"].astype(np.float64))
    rtol = 5e-6 if op in (Sinh(), Cosh()) else 1e-6  # the square of an exponential, whose kernel is off by 2e-6
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=0)


def test_an_activation_after_a_concatenation_is_kept(tmp_path: Path) -> None:
    graph = Graph()
    parts = [graph.add_input(f"x{i}", TensorType(DType.FLOAT, (1, 4))) for i in range(2)]
    graph.set_outputs([graph.add(Relu(), graph.add(Concat(axis=0), *parts))], ["y"])
    feeds = {f"x{i}": numbers(1, 4, seed=i) for i in range(2)}
    bundle = edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle")
    np.testing.assert_array_equal(bundle.run(feeds)["y"], interpret(graph, feeds)["y"])


@pytest.mark.parametrize("lengths", [(2, 2, 2), (1, 3, 2), (1, 1, 1, 1, 1, 1)])
def test_splits(lengths: tuple[int, ...], tmp_path: Path) -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (6, 3)))
    graph.set_outputs(graph.add(Split(axis=0), x, int64s(lengths), outputs=len(lengths)), [f"y{i}" for i in range(len(lengths))])
    feeds = {"x": numbers(6, 3)}
    found = edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle").run(feeds)
    for name, array in interpret(graph, feeds).items():
        np.testing.assert_array_equal(found[name], array)


def boxes(count: int) -> Any:
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 5, (2, count, 2))
    return np.concatenate([corners, corners + rng.uniform(-3, 3, corners.shape)], -1).astype(np.float32)


MANY = np.random.default_rng(5).integers(0, 7, (6, 9)).astype(np.int32)
SINGLE: dict[str, Any] = {
    "triangle at run time": (Trilu(upper=0), [numbers(2, 3, 4), np.array(1)], {}),
    "triangle of any size": (Trilu(), [numbers(3, 4), np.array([-1])], {"fixed": (1,), "free": True}),
    "nonzero": (NonZero(), [MANY % 3], {}),
    "distinct": (Unique(), [MANY], {}),
    "distinct in order": (Unique(sorted=0), [MANY], {}),
    "greatest of repeated places": (
        ScatterElements(axis=0, reduction="max"), [numbers(4, 2), np.array([[0, 1], [0, -1], [2, 1]]), numbers(3, 2, seed=1)], {}),
    "boxes": (
        NonMaxSuppression(),
        [boxes(12), numbers(2, 3, 12, seed=6), np.array([4]), np.array([0.3], np.float32), np.array([0.1], np.float32)],
        {"fixed": (2,)}),
    "centred boxes": (NonMaxSuppression(center_point_box=1), [np.abs(boxes(8)), numbers(2, 1, 8, seed=7), np.array([8])], {"fixed": (2,)}),
    "integers": (
        MatMulInteger(), [edges(np.uint8, 8).reshape(4, 8), edges(np.int8, 9)[:24].reshape(8, 3), np.uint8(120), np.int8(3)], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_single_operators(name: str, tmp_path: Path) -> None:
    op, operands, options = SINGLE[name]
    check(op, operands, tmp_path, **options)


def test_long_sums_of_integers_are_exact(tmp_path: Path) -> None:
    """More terms than float32 adds exactly."""
    rng = np.random.default_rng(10)
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.UINT8, (1, 64, 5, 5)))
    w = constant(rng.integers(100, 128, (2, 64, 3, 3)).astype(np.int8))
    graph.set_outputs([graph.add(ConvInteger(), x, w)], ["y"])
    feeds = {"x": rng.integers(200, 256, (1, 64, 5, 5)).astype(np.uint8)}
    expected = interpret(graph, feeds)["y"]
    assert expected.min() > 1 << 23
    found = edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle").run(feeds)["y"]
    np.testing.assert_array_equal(found, expected)
