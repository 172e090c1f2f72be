"""Types, symbolic shapes, contents and diagnostics of elementwise, logical and cast operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import constant_type
from edgec.ir.op import OPS, Op, infer_types
from edgec.ir.ops.activation import Clip, Gelu, PRelu, Relu, SwiGLU
from edgec.ir.ops.binary import Add, BitShift, Div, Max, Min, Mod, Mul, Pow, Sub, Sum
from edgec.ir.ops.cast import BitCast, Cast, CastLike
from edgec.ir.ops.logical import Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Where
from edgec.ir.ops.unary import Abs, Det, Exp, Identity, Neg, Not, Sign
from edgec.ir.types import UNKNOWN, SequenceType, TensorType
from tests.ir.ops.operator_lists import CASTS, MATHEMATICS

REQUIRED: dict[str, dict[str, Any]] = {
    "BitShift": {"direction": "LEFT"},
    "Cast": {"to": DType.FLOAT},
    "BitCast": {"to": DType.INT32},
}
BATCH, LENGTH = symbol("batch"), symbol("length")


def make(name: str) -> Op:
    return OPS[("", name)](**REQUIRED.get(name, {}))


def ints(*values: Any, dtype: DType = DType.INT64) -> TensorType:
    return TensorType(dtype, (len(values),), values)


def _allowed(schema: Any, label: str) -> set[DType]:
    names = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}.get(label, [label])
    spelled = {t[7:-1].upper() for t in names if t.startswith("tensor(")}
    return {d for d in DType if d.name in spelled}


@pytest.mark.parametrize("name", sorted({*MATHEMATICS, *CASTS} - {"BitCast"}))
def test_element_types_are_those_of_the_schema(name: str) -> None:
    """The first operand takes exactly the element types of the newest ONNX definition."""
    schema = onnx.defs.get_schema(name)
    label = schema.inputs[0].type_str
    allowed, op = _allowed(schema, label), make(name)
    same = [i for i, s in enumerate(schema.inputs) if s.type_str == label and "Optional" not in str(s.option)]
    for dtype in DType:
        operands = []
        for i, spec in enumerate(schema.inputs):
            if "Optional" in str(spec.option):
                break
            fallback = DType.FLOAT if name != "Pow" else dtype
            operands.append(TensorType(dtype if i in same else fallback, (2, 2)))
        try:
            infer_types(op, operands, 1)
            accepted = True
        except Diagnostic as error:
            assert error.code == "E0202"
            accepted = False
        admitted = dtype in allowed and not (name == "Pow" and dtype not in _allowed(schema, "T1"))
        if name != "Identity":
            assert accepted == admitted, f"{name} of {dtype}"
        else:
            assert accepted


@pytest.mark.parametrize("name", sorted({*MATHEMATICS, *CASTS}))
def test_since_and_attributes_are_those_of_the_schema(name: str) -> None:
    history = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]
    op = make(name)
    assert op.since == min(history)
    assert {n for n, _ in op.attributes()} == set(onnx.defs.get_schema(name).attributes)


def test_broadcasting_of_symbols() -> None:
    a, b = TensorType(DType.FLOAT, (BATCH, 1, 8)), TensorType(DType.FLOAT, (LENGTH, 8))
    assert Add().infer(a, b) == TensorType(DType.FLOAT, (BATCH, LENGTH, 8))
    assert Less().infer(a, b) == TensorType(DType.BOOL, (BATCH, LENGTH, 8))
    assert Sum().infer(a, b, TensorType(DType.FLOAT, ())).shape == (BATCH, LENGTH, 8)
    condition = TensorType(DType.BOOL, (BATCH, 1, 1))
    assert Where().infer(condition, b, b).shape == (BATCH, LENGTH, 8)
    assert Pow().infer(a, TensorType(DType.INT64, (LENGTH, 1))).shape == (BATCH, LENGTH, 8)
    assert Exp().infer(a) is a
    assert Det().infer(TensorType(DType.FLOAT, (BATCH, LENGTH, LENGTH))).shape == (BATCH,)


def test_partial_answers() -> None:
    known, ranked = TensorType(DType.FLOAT, (2, 3)), TensorType(DType.FLOAT, None)
    assert Add().infer(known, ranked) == ranked
    assert Add().infer(UNKNOWN, known) == ranked
    assert Add().infer(UNKNOWN, UNKNOWN) == UNKNOWN
    assert Equal().infer(UNKNOWN, UNKNOWN) == TensorType(DType.BOOL, None)
    assert Max().infer(known, UNKNOWN) == ranked
    assert Relu().infer(UNKNOWN) == UNKNOWN
    assert Cast(DType.INT32).infer(UNKNOWN) == TensorType(DType.INT32, None)
    assert CastLike().infer(UNKNOWN, known) == ranked
    assert Where().infer(UNKNOWN, known, known) == ranked
    assert SwiGLU().infer(ranked, known) == known


def test_sequences_pass_only_through_identity() -> None:
    sequence = SequenceType(TensorType(DType.FLOAT, (2,)))
    assert Identity().infer(sequence) is sequence
    with pytest.raises(Diagnostic, match="a tensor is needed"):
        Relu().infer(sequence)  # type: ignore[arg-type]


INTEGER_OPS = [
    Add(),
    Sub(),
    Mul(),
    Div(),
    Mod(),
    Mod(fmod=1),
    Max(),
    Min(),
    Equal(),
    Less(),
    LessOrEqual(),
    Greater(),
    GreaterOrEqual(),
    OPS[("", "BitwiseAnd")](),
    OPS[("", "BitwiseOr")](),
    OPS[("", "BitwiseXor")](),
]


@pytest.mark.parametrize("op", INTEGER_OPS, ids=repr)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8])
def test_contents_equal_evaluation(op: Op, dtype: Any) -> None:
    """What inference says of integer contents, wrap-around included, is what evaluation gives."""
    rng = np.random.default_rng(3)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -100), min(limits.max, 100)
    a, b = (rng.integers(low, high, (4, 6), endpoint=True).astype(dtype) for _ in range(2))
    b[b == 0] = 7
    for right in (b, b[:1, :1], b[0]):
        inferred = op.infer(constant_type(ArrayData(a)), constant_type(ArrayData(right)))
        wanted = op.evaluate(a, right)
        assert inferred.dtype.numpy == wanted.dtype
        assert inferred.content == tuple(int(v) for v in wanted.reshape(-1))


def test_symbolic_contents() -> None:
    shape = ints(BATCH, 3, LENGTH)
    assert Add().infer(shape, ints(1)).content == (BATCH + 1, 4, LENGTH + 1)
    assert Mul().infer(shape, ints(2, 2, 2)).content == (BATCH * 2, 6, LENGTH * 2)
    assert Sub().infer(ints(1), shape).content == (1 - BATCH, -2, 1 - LENGTH)
    assert Div().infer(shape, ints(2)).content == (BATCH // 2, 1, LENGTH // 2)
    assert Div().infer(ints(BATCH - 4), ints(2)).content is None  # truncates towards zero when negative
    assert Div().infer(ints(2 * BATCH - 4), ints(2)).content == (BATCH - 2,)
    assert Mod().infer(shape, ints(2)).content == (BATCH % 2, 1, LENGTH % 2)
    assert Max().infer(shape, ints(1)).content is not None
    assert Neg().infer(ints(BATCH, 2)).content == (-1 * BATCH, -2)
    assert Abs().infer(ints(BATCH, -2)).content == (BATCH, 2)
    assert Sign().infer(ints(BATCH + 1, -2, 0)).content == (1, -1, 0)
    assert Relu().infer(ints(-3, 3)).content == (0, 3)
    assert Pow().infer(ints(BATCH, 3), ints(2)).content == (BATCH**2, 9)
    scalar = TensorType(DType.INT64, (), (2,))
    assert Clip().infer(ints(1, 5, -7), scalar, TensorType(DType.INT64, (), (4,))).content == (2, 4, 2)


def test_symbolic_comparisons_are_decided_by_bounds() -> None:
    assert Equal().infer(ints(BATCH, BATCH, 3), ints(-1, BATCH, 4)).content == (0, 1, 0)
    assert Equal().infer(ints(BATCH), ints(1)).content is None
    assert Less().infer(ints(BATCH, BATCH), ints(0, BATCH + 1)).content == (0, 1)
    assert GreaterOrEqual().infer(ints(BATCH), ints(0)).content == (1,)
    chosen = Equal().infer(ints(BATCH, -1), ints(-1))
    assert Not().infer(chosen).content == (1, 0)
    assert Where().infer(chosen, ints(7), ints(BATCH, 9)).content == (BATCH, 7)
    undecided = TensorType(DType.BOOL, (2,), (None, 1))
    assert Where().infer(undecided, ints(5, 6), ints(5, 7)).content == (5, 6)


def test_casts_keep_integer_contents() -> None:
    shape = ints(BATCH, 300, -1)
    assert Cast(DType.INT32).infer(shape).content == (BATCH, 300, -1)
    assert Cast(DType.UINT8).infer(ints(300, -1)).content == (44, 255)
    assert Cast(DType.BOOL).infer(ints(0, 5)).content == (0, 1)
    assert Cast(DType.FLOAT).infer(shape).content is None
    assert CastLike().infer(shape, TensorType(DType.INT32, None)).content == (BATCH, 300, -1)
    assert BitCast(DType.UINT64).infer(ints(-1)).content == (2**64 - 1,)


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16])
def test_halves_are_computed_in_single_precision(dtype: DType) -> None:
    x = np.linspace(-3, 3, 41).astype(dtype.numpy)
    wide = x.astype(np.float32)
    for name in ("Exp", "Gelu", "Softplus", "Tanh", "Erf", "Mish", "Celu"):
        op = OPS[("", name)]()
        result = op.evaluate(x)
        assert result.dtype == dtype.numpy
        np.testing.assert_array_equal(result, op.evaluate(wide).astype(dtype.numpy))
    assert Add().evaluate(x, x).dtype == dtype.numpy
    assert Max().evaluate(x, x[:1]).dtype == dtype.numpy


def test_scalars_stay_arrays_of_their_type() -> None:
    one = np.array(250, np.uint8)
    result = Add().evaluate(one, one)
    assert isinstance(result, np.ndarray) and result.dtype == np.uint8 and result == 244
    assert Div().evaluate(np.array(-7), np.array(2)) == -3
    assert Mod().evaluate(np.array(-7), np.array(2)) == 1
    assert Pow().evaluate(np.array([2, 3]), np.array([0.5, 2.0])).tolist() == [1, 9]


def test_casts_between_floats_integers_and_strings() -> None:
    assert Cast(DType.UINT8).evaluate(np.array([3.9, -1.0], np.float32)).tolist() == [3, 255]
    assert Cast(DType.INT8).evaluate(np.array([200, -129], np.int32)).tolist() == [-56, 127]
    assert Cast(DType.BOOL).evaluate(np.array([0.0, -0.0, 0.5])).tolist() == [False, False, True]
    words = Cast(DType.STRING).evaluate(np.array([1.5, np.nan, -np.inf], np.float32))
    assert words.tolist() == ["1.5", "NaN", "-INF"]
    assert Cast(DType.FLOAT).evaluate(np.array(["+INF", "1e-5"], object)).tolist() == [
        np.inf,
        np.float32(1e-5),
    ]
    huge = np.array([1e6, -1e6, np.inf], np.float32)
    assert Cast(DType.FLOAT8E4M3FN).evaluate(huge).astype(np.float32).tolist() == [448, -448, 448]
    assert np.isnan(Cast(DType.FLOAT8E4M3FN, saturate=0).evaluate(huge).astype(np.float32)).all()
    with pytest.raises(Diagnostic, match="cannot read a string as i64"):
        Cast(DType.INT64).evaluate(np.array(["seven"], object))


@pytest.mark.parametrize(
    ("op", "operands", "message"),
    [
        (
            Add(),
            (TensorType(DType.FLOAT, (2, 3)), TensorType(DType.FLOAT, (2, 4))),
            r"\[2, 3\], \[2, 4\] do not broadcast",
        ),
        (Add(), (TensorType(DType.FLOAT, ()), TensorType(DType.INT32, ())), "f32 and i32"),
        (Exp(), (TensorType(DType.INT32, ()),), "Exp is not defined for i32"),
        (
            Where(),
            (TensorType(DType.FLOAT, ()), *[TensorType(DType.FLOAT, ())] * 2),
            "condition of Where must be bool",
        ),
        (Det(), (TensorType(DType.FLOAT, (2, 3)),), "2 by 3"),
        (
            PRelu(),
            (TensorType(DType.FLOAT, (2, 3)), TensorType(DType.FLOAT, (4, 2, 3))),
            "does not broadcast",
        ),
        (PRelu(), (TensorType(DType.FLOAT, (2, 1)), TensorType(DType.FLOAT, (3,))), "3 and 1 must be equal"),
        (
            SwiGLU(),
            (TensorType(DType.FLOAT, (2, 3)), TensorType(DType.FLOAT, (2, 1))),
            "3 and 1 must be equal",
        ),
        (
            Clip(),
            (TensorType(DType.FLOAT, (2,)), TensorType(DType.FLOAT, (2,))),
            "min of Clip must be a scalar",
        ),
        (Gelu(approximate="fast"), (TensorType(DType.FLOAT, (2,)),), "none or tanh, not 'fast'"),
        (BitShift(direction="UP"), (TensorType(DType.UINT8, ()),) * 2, "LEFT or RIGHT, not 'UP'"),
        (BitCast(DType.INT64), (TensorType(DType.FLOAT, ()),), "types of one width, not f32 and i64"),
        (Max(), (), "at least 1"),
    ],
    ids=lambda v: repr(v) if isinstance(v, Op) else "",
)
def test_diagnostics(op: Op, operands: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(Diagnostic, match=message):
        infer_types(op, operands, 1)


def test_integer_division_by_zero_is_a_diagnostic() -> None:
    for op in (Div(), Mod()):
        with pytest.raises(Diagnostic, match="divides an integer by zero"):
            op.evaluate(np.array([1, 2]), np.array([1, 0]))
        assert op.infer(ints(1, 2), ints(1, 0)).content == (op.evaluate(np.array(1), np.array(1)), None)
