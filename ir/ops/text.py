"""Operators on strings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .cells import unknown_of
from .common import broadcast_shapes, format_shape, require_dtype, shape_error


def _require_strings(*operands: Any) -> None:
    for operand in operands:
        if isinstance(operand, TensorType):
            require_dtype(operand, (DType.STRING,))


def _map_strings(function: Any, array: Any, dtype: Any = np.object_) -> Any:
    result = np.empty(array.size, dtype)
    for index, item in enumerate(array.reshape(-1)):
        result[index] = function(str(item))
    return result.reshape(array.shape)


@dataclass(frozen=True)
class StringConcat(Op):
    """Join strings elementwise, with broadcasting."""

    since = 20
    elementwise = True

    def infer(self, X: TensorType, Y: TensorType) -> TensorType:
        _require_strings(X, Y)
        shapes = [o.shape if isinstance(o, TensorType) else None for o in (X, Y)]
        return TensorType(DType.STRING, broadcast_shapes(*shapes))

    def evaluate(self, X: Any, Y: Any) -> Any:
        return np.asarray(X + Y, dtype=np.object_)


@dataclass(frozen=True)
class StringSplit(Op):
    """The parts of each string on a new last axis, filled up with empty strings, and how many there are."""

    delimiter: str | None = None
    maxsplit: int | None = None
    since = 20
    outputs = 2

    def infer(self, X: TensorType) -> Any:
        _require_strings(X)
        shape = X.shape if isinstance(X, TensorType) else None
        parts = None if shape is None else (*shape, None)
        return TensorType(DType.STRING, parts), TensorType(DType.INT64, shape)  # type: ignore[arg-type]

    def evaluate(self, X: Any) -> Any:
        limit = -1 if self.maxsplit is None else self.maxsplit
        rows = [str(item).split(self.delimiter or None, limit) for item in X.reshape(-1)]
        width = max((len(row) for row in rows), default=0)
        parts = np.full((len(rows), width), "", np.object_)
        for index, row in enumerate(rows):
            parts[index, : len(row)] = row
        counts = np.array([len(row) for row in rows], np.int64)
        return parts.reshape(*X.shape, width), counts.reshape(X.shape)


@dataclass(frozen=True)
class StringNormalizer(Op):
    """Remove stop words and change the case."""

    case_change_action: str = "NONE"
    is_case_sensitive: int = 0
    locale: str | None = None
    stopwords: tuple[str, ...] | None = None
    since = 10

    def infer(self, X: TensorType) -> Any:
        if not isinstance(X, TensorType):
            return unknown_of(X, "X")
        _require_strings(X)
        if X.shape is None or not self.stopwords:
            return X
        if len(X.shape) not in (1, 2):
            raise shape_error(f"StringNormalizer needs [C] or [1, C], not {format_shape(X.shape)}")
        return TensorType(DType.STRING, (*X.shape[:-1], None))  # type: ignore[arg-type]

    def evaluate(self, X: Any) -> Any:
        change = {"LOWER": str.lower, "UPPER": str.upper}.get(self.case_change_action, str)
        same: Any = str if self.is_case_sensitive else str.lower
        dropped = {same(word) for word in self.stopwords or ()}
        kept = [change(str(item)) for item in X.reshape(-1) if same(str(item)) not in dropped]
        if self.stopwords and not kept:
            kept = [""]
        result = np.empty(len(kept), np.object_)
        result[:] = kept
        return result.reshape(*X.shape[:-1], len(kept)) if self.stopwords else result.reshape(X.shape)


@dataclass(frozen=True)
class RegexFullMatch(Op):
    """Whether each string as a whole matches a regular expression."""

    pattern: str | None = None
    since = 20
    elementwise = True

    def infer(self, X: TensorType) -> TensorType:
        _require_strings(X)
        return TensorType(DType.BOOL, X.shape if isinstance(X, TensorType) else None)

    def evaluate(self, X: Any) -> Any:
        expression = re.compile(self.pattern or "")
        return _map_strings(lambda text: expression.fullmatch(text) is not None, X, np.bool_)


@dataclass(frozen=True)
class TfIdfVectorizer(Op):
    """Weighted counts of the n-grams of a pool."""

    max_gram_length: int
    max_skip_count: int
    min_gram_length: int
    mode: str
    ngram_counts: tuple[int, ...]
    ngram_indexes: tuple[int, ...]
    pool_int64s: tuple[int, ...] | None = None
    pool_strings: tuple[str, ...] | None = None
    weights: tuple[float, ...] | None = None
    since = 9

    def infer(self, X: TensorType) -> TensorType:
        width = max(self.ngram_indexes, default=-1) + 1
        if not isinstance(X, TensorType):
            unknown_of(X, "X")
            return TensorType(DType.FLOAT, None)
        if X.shape is None:
            return TensorType(DType.FLOAT, None)
        if len(X.shape) not in (1, 2):
            raise shape_error(f"TfIdfVectorizer needs [C] or [N, C], not {format_shape(X.shape)}")
        return TensorType(DType.FLOAT, (*X.shape[:-1], width))
