"""Values that may be absent. In evaluation an empty optional is None and a full one is its element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import OptionalType, TensorType, Type, UnknownType
from .common import attribute_error


@dataclass(frozen=True)
class Optional(Op):
    """An optional holding the operand, or an empty one of the stated type."""

    type: Type | None = None
    since = 15

    def infer(self, input: Any = None) -> Type:
        if input is not None:
            return OptionalType(input)
        if self.type is None:
            raise attribute_error("an empty Optional needs the attribute type")
        return OptionalType(self.type)

    def evaluate(self, input: Any = None) -> Any:
        return input


@dataclass(frozen=True)
class OptionalGetElement(Op):
    """The element of an optional; tensors and sequences are their own element."""

    since = 15

    def infer(self, input: Any) -> Any:
        return input.element if isinstance(input, OptionalType) else input

    def evaluate(self, input: Any) -> Any:
        if input is None:
            raise ValueError("the optional is empty")
        return input


@dataclass(frozen=True)
class OptionalHasElement(Op):
    """Whether an optional has an element; known where the operand is absent or no optional."""

    since = 15

    def infer(self, input: Any = None) -> Type:
        if input is None:
            return TensorType(DType.BOOL, (), (0,))
        open_question = isinstance(input, OptionalType | UnknownType)
        return TensorType(DType.BOOL, (), None if open_question else (1,))

    def evaluate(self, input: Any = None) -> Any:
        return np.array(input is not None)
