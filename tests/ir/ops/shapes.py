"""Short spellings of operand types for the tests of shape rules."""

from __future__ import annotations

from typing import Any

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.types import TensorType

BATCH, SEQ, PAST = symbol("batch"), symbol("seq"), symbol("past")


def f32(*shape: Any) -> TensorType:
    """A float tensor type."""
    return TensorType(DType.FLOAT, shape)


def vector(*content: Any) -> TensorType:
    """A one-dimensional int64 operand with known (or partly known: None) elements."""
    return TensorType(DType.INT64, (len(content),), content)


def scalar(value: Any) -> TensorType:
    """An int64 scalar operand with a known element."""
    return TensorType(DType.INT64, (), (value,))
