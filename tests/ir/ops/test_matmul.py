"""MatMul, Gemm and Einsum: against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.matmul import Einsum, Gemm, MatMul
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

F32 = DType.FLOAT


@pytest.mark.parametrize(
    "a,b",
    [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (2, 3, 4)), ((2, 4, 3), (3,))],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    r = np.random.default_rng(0)
    check_against_onnxruntime(MatMul(), [floats(r, *a), floats(r, *b)])
    check_against_onnxruntime(MatMul(), [r.integers(-9, 9, a), r.integers(-9, 9, b)])


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("addend", [None, (), (4,), (2, 1), (1, 4), (2, 4)])
@pytest.mark.parametrize("alpha,beta", [(1.0, 1.0), (0.5, 0.25)])
def test_gemm(trans_a: int, trans_b: int, addend: Any, alpha: float, beta: float) -> None:
    r = np.random.default_rng(1)
    a, b = floats(r, *((3, 2) if trans_a else (2, 3))), floats(r, *((4, 3) if trans_b else (3, 4)))
    c = None if addend is None else np.asarray(floats(r, *addend), np.float32)
    check_against_onnxruntime(Gemm(alpha, beta, trans_a, trans_b), [a, b, c])


@pytest.mark.parametrize(
    "equation,shapes",
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij, bjk", [(5, 2, 3), (5, 3, 4)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (1, 3, 4)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ii->i", [(3, 3)]),
        ("abc->", [(2, 3, 4)]),
        ("bhqd,bhkd->bhqk", [(1, 2, 3, 4), (1, 2, 5, 4)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    r = np.random.default_rng(2)
    check_against_onnxruntime(Einsum(equation), [floats(r, *s) for s in shapes])


def test_symbolic_shapes() -> None:
    b, s = symbol("batch"), symbol("tokens")
    x = TensorType(F32, (b, s, 64))
    assert str(MatMul().infer(x, TensorType(F32, (64, 8)))) == "f32[batch, tokens, 8]"
    assert str(MatMul().infer(TensorType(F32, (1, 4, s, 8)), TensorType(F32, (b, 4, 8, s)))) == "f32[batch, 4, tokens, tokens]"
    assert str(Gemm(transB=1).infer(TensorType(F32, (b, 64)), TensorType(F32, (8, 64)))) == "f32[batch, 8]"
    assert str(Gemm().infer(TensorType(F32, None), TensorType(F32, (3, 8)))) == "f32[?, 8]"
    assert str(Einsum("bsd,de->bse").infer(x, TensorType(F32, (64, 8)))) == "f32[batch, tokens, 8]"
    assert str(Einsum("...d,de->...e").infer(x, TensorType(F32, (64, 8)))) == "f32[batch, tokens, 8]"
    assert MatMul().infer(x, TensorType(F32, None)).shape is None


def test_errors() -> None:
    a, b = TensorType(F32, (2, 3)), TensorType(F32, (4, 5))
    with pytest.raises(Diagnostic, match="inner dimensions .* differ: 3 and 4"):
        MatMul().infer(a, b)
    with pytest.raises(Diagnostic, match="differ: 2 and 4"):
        Gemm(transA=1).infer(a, b)
    with pytest.raises(Diagnostic, match=r"C \[3\] does not broadcast to \[2, 5\]"):
        Gemm().infer(a, TensorType(F32, (3, 5)), TensorType(F32, (3,)))
    with pytest.raises(Diagnostic, match="einsum label 'j': 3 and 4"):
        Einsum("ij,jk->ik").infer(a, b)
    with pytest.raises(Diagnostic, match="returns 'z'"):
        Einsum("ij->z").infer(a)
    with pytest.raises(Diagnostic, match="must agree"):
        MatMul().infer(a, TensorType(DType.DOUBLE, (3, 4)))
    with pytest.raises(Diagnostic, match="does not take bool"):
        MatMul().infer(TensorType(DType.BOOL, (2, 3)), TensorType(DType.BOOL, (3, 2)))
