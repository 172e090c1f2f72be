"""Normalisations along one axis: softmax and vector norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, normalize_axis
from .elementwise import check_type, in_float32, partial


def log_softmax(x: Array, axis: int) -> Any:
    """The logarithm of the softmax along an axis."""
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


class AlongAxis(Op, abstract=True):
    """An operator of one floating-point tensor along one axis that keeps its shape."""

    axis: int

    def infer(self, x: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x)
        if x.dtype not in FLOATS:
            check_type(self, x.dtype, FLOATS)
        if x.shape is not None:
            normalize_axis(self.axis, len(x.shape))
        return x if x.numbers is None else x.with_shape(x.shape)

    def compute(self, x: Array) -> Any:
        """The result for an array that is not a narrow float."""
        raise NotImplementedError

    def evaluate(self, x: Array) -> Any:
        return in_float32(self.compute, x.dtype, x)


@dataclass(frozen=True)
class Softmax(AlongAxis):
    """Exponentials divided by their sum along the axis."""

    axis: int = -1

    def compute(self, x: Array) -> Any:
        powers = np.exp(x - np.max(x, axis=self.axis, keepdims=True, initial=-np.inf))
        return powers / np.sum(powers, axis=self.axis, keepdims=True)


@dataclass(frozen=True)
class LogSoftmax(AlongAxis):
    """The logarithm of the softmax along the axis."""

    axis: int = -1

    def compute(self, x: Array) -> Any:
        return log_softmax(x, self.axis)


@dataclass(frozen=True)
class LpNormalization(AlongAxis):
    """Elements divided by the norm along the axis: the sum of absolute values, or the Euclidean norm; 0/0 is 0."""

    axis: int = -1
    p: int = 2
    norms: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, x: TensorType) -> Any:
        if self.p not in self.norms:
            raise attribute_error(f"p is 1 or 2, not {self.p}")
        return super().infer(x)

    def compute(self, x: Array) -> Any:
        if self.p == 1:
            norm = np.sum(np.abs(x), axis=self.axis, keepdims=True)
        else:
            norm = np.sqrt(np.sum(np.square(x), axis=self.axis, keepdims=True))
        return np.where(norm == 0, x.dtype.type(0), x / norm)
