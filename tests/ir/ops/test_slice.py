"""Slice: symbolic lengths agree with what numpy does for every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import broadcast, minimum, substitute, symbol
from edgec.ir.ops.slice import Slice, slice_length
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime
from tests.ir.ops.shapes import BATCH, PAST, SEQ, f32, vector

END = 2**63 - 1
BOUND = st.integers(-7, 7) | st.sampled_from([END, 2**31 - 1, -END, -(2**31)])


@given(BOUND, BOUND, st.sampled_from([1, 2, 3, -1, -2]), st.integers(0, 9))
def test_symbolic_dimension_agrees_with_numpy(start: int, end: int, step: int, size: int) -> None:
    length = slice_length(symbol("n"), start, end, step)
    if length is not None:
        assert substitute(length, {"n": size}) == len(range(size)[start:end:step])
    assert slice_length(size, start, end, step) == len(range(size)[start:end:step])


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.sampled_from([1, 2]))
def test_symbolic_bounds_agree_with_numpy(size: int, low: int, extra: int, step: int) -> None:
    """Windows [a, a + b) and [a:] of fixed and symbolic dimensions, inside and beyond the dimension."""
    a, b, n = symbol("a"), symbol("b"), symbol("n")
    for dim in (size, n):
        for start, end in ((a, a + b), (0, b), (a, END), (a, a + 3), (a * -1 - 1, END)):
            length = slice_length(dim, start, end, step)
            values = {"a": low, "b": extra, "n": size}
            assert length is not None
            expected = len(range(size)[substitute(start, values) : substitute(end, values) : step])
            assert substitute(length, values) == expected


@pytest.mark.parametrize(
    ("dim", "start", "end", "step", "expected"),
    [
        (PAST + SEQ, PAST, PAST + SEQ, 1, SEQ),
        (SEQ, 0, END, 1, SEQ),
        (SEQ, 0, END, 2, (SEQ + 1) // 2),
        (512, 0, SEQ, 1, minimum(512, SEQ)),
        (SEQ, -1, -END, -1, SEQ),
        (SEQ + 4, 4, END, 1, SEQ),
        (SEQ, -1, END, 1, minimum(1, SEQ)),
        (SEQ, BATCH - PAST, END, 1, None),
        (SEQ, None, END, 1, None),
    ],
)
def test_lengths_are_short(dim: Any, start: Any, end: Any, step: Any, expected: Any) -> None:
    assert slice_length(dim, start, end, step) == expected


def test_two_parts_add_up() -> None:
    """The two halves of a rolled window cover the dimension."""
    head = slice_length(SEQ, 0, 3, 1)
    tail = slice_length(SEQ, 3, END, 1)
    assert head is not None and tail is not None and head + tail == SEQ


def test_axes_content_and_unknown_operands() -> None:
    assert Slice().infer(f32(2, SEQ, 8), vector(1), vector(END), vector(-1)).shape == (2, SEQ, 7)
    sliced = Slice().infer(vector(BATCH, SEQ, 64), vector(-2), vector(END), vector(0))
    assert sliced.content == (SEQ, 64)
    assert Slice().infer(vector(BATCH, 2, 3), vector(2), vector(-END), vector(0), vector(-1)).content == (3, 2, BATCH)
    unknown = TensorType(vector().dtype, (1,))
    assert Slice().infer(f32(4, 5), unknown, unknown).shape == (None, 5)
    assert Slice().infer(f32(4, 5), vector(0), vector(2), unknown).shape == (None, None)


def test_contradictions() -> None:
    for operands in ((f32(4), vector(0, 0), vector(1, 1)), (f32(4), vector(0), vector(1, 2), vector(0))):
        with pytest.raises(Diagnostic, match="slices|starts"):
            Slice().infer(*operands)
    with pytest.raises(Diagnostic, match="step"):
        Slice().infer(f32(4), vector(0), vector(1), vector(0), vector(0))


@pytest.mark.parametrize(("start", "end", "step"), [(1, END, 1), (-3, -1, 1), (5, 0, -2), (-1, -END, -1), (3, 1, 1)])
def test_values(start: int, end: int, step: int) -> None:
    data = np.arange(24, dtype=np.float32).reshape(4, 6)
    check_against_onnxruntime(Slice(), [data, np.array([start]), np.array([end]), np.array([1]), np.array([step])])


def test_clamps_vanish_where_they_cannot_matter() -> None:
    assert minimum(0, SEQ) == 0
    assert broadcast(SEQ, minimum(512, SEQ)) == SEQ == broadcast(minimum(512, SEQ), SEQ)
