"""The operators of ai.onnx.ml on tensors. (Those on maps, such as ZipMap, stay opaque: the IR has no map type.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import TensorData
from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .cells import unknown_of
from .common import attribute_error

Floats = tuple[float, ...] | None
Ints = tuple[int, ...] | None
Strings = tuple[str, ...] | None


class _Classic(Op, abstract=True):
    domain: ClassVar[str] = "ai.onnx.ml"


def _rows(X: Any) -> Dim | None:
    """The batch size: one for a vector."""
    if not isinstance(X, TensorType) or X.shape is None:
        return None
    return 1 if len(X.shape) < 2 else X.shape[0]


def _matrix(dtype: DType, rows: Any, columns: Any) -> TensorType:
    return TensorType(dtype, (rows, columns))


def _scores(X: Any, strings: Strings, integers: Ints) -> tuple[TensorType, TensorType]:
    """Labels and scores of a classifier. (With one class in the file, two-class scores may be meant: the width is open.)"""
    count = len(strings or integers or ())
    rows = _rows(X)
    labels = TensorType(DType.STRING if strings else DType.INT64, (rows,))  # type: ignore[arg-type]
    return labels, _matrix(DType.FLOAT, rows, count if count > 1 else None)


@dataclass(frozen=True)
class ArrayFeatureExtractor(_Classic):
    """The columns of X that Y names."""

    def infer(self, X: TensorType, Y: TensorType) -> Any:
        if not isinstance(X, TensorType):
            return unknown_of(X, "X")
        count = Y.elements if isinstance(Y, TensorType) else None
        if X.shape is None:
            return TensorType(X.dtype, None)
        lead = (1,) if len(X.shape) == 1 else X.shape[:-1]
        return TensorType(X.dtype, (*lead, count))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Binarizer(_Classic):
    """1 above the threshold, 0 elsewhere."""

    threshold: float = 0.0

    def infer(self, X: TensorType) -> Any:
        return X.with_shape(X.shape) if isinstance(X, TensorType) else unknown_of(X, "X")


@dataclass(frozen=True)
class CategoryMapper(_Classic):
    """Strings to integers or integers to strings."""

    cats_int64s: Ints = None
    cats_strings: Strings = None
    default_int64: int = -1
    default_string: str = "_Unused"

    def infer(self, X: TensorType) -> Any:
        if not isinstance(X, TensorType):
            return unknown_of(X, "X")
        return TensorType(DType.INT64 if X.dtype is DType.STRING else DType.STRING, X.shape)

    def evaluate(self, X: Any) -> Any:
        strings, integers = self.cats_strings or (), self.cats_int64s or ()
        if X.dtype == np.object_:
            table: dict[Any, Any] = dict(zip(strings, integers, strict=True))
            found = [table.get(str(item), self.default_int64) for item in X.reshape(-1)]
            return np.array(found, np.int64).reshape(X.shape)
        table = dict(zip(integers, strings, strict=True))
        texts = [table.get(int(item), self.default_string) for item in X.reshape(-1)]
        return np.array(texts, np.object_).reshape(X.shape)


@dataclass(frozen=True)
class FeatureVectorizer(_Classic):
    """Several inputs side by side in one float matrix."""

    inputdimensions: Ints = None

    def infer(self, *X: TensorType) -> TensorType:
        return _matrix(DType.FLOAT, _rows(X[0]) if X else None, sum(self.inputdimensions) if self.inputdimensions else None)


@dataclass(frozen=True)
class Imputer(_Classic):
    """Replace one value by another."""

    imputed_value_floats: Floats = None
    imputed_value_int64s: Ints = None
    replaced_value_float: float = 0.0
    replaced_value_int64: int = 0

    def infer(self, X: TensorType) -> Any:
        return X.with_shape(X.shape) if isinstance(X, TensorType) else unknown_of(X, "X")


@dataclass(frozen=True)
class LabelEncoder(_Classic):
    """Map keys to values elementwise."""

    default_float: float = -0.0
    default_int64: int = -1
    default_string: str = "_Unused"
    default_tensor: TensorData | None = None
    keys_floats: Floats = None
    keys_int64s: Ints = None
    keys_strings: Strings = None
    keys_tensor: TensorData | None = None
    values_floats: Floats = None
    values_int64s: Ints = None
    values_strings: Strings = None
    values_tensor: TensorData | None = None

    def infer(self, X: TensorType) -> TensorType:
        return TensorType(self._result(), X.shape if isinstance(X, TensorType) else None)

    def _result(self) -> DType:
        if self.values_tensor is not None:
            return self.values_tensor.dtype
        for values, dtype in (
            (self.values_strings, DType.STRING),
            (self.values_int64s, DType.INT64),
            (self.values_floats, DType.FLOAT),
        ):
            if values is not None:
                return dtype
        raise attribute_error("LabelEncoder has no values")


@dataclass(frozen=True)
class LinearClassifier(_Classic):
    """Labels and scores of a linear model."""

    coefficients: tuple[float, ...]
    classlabels_ints: Ints = None
    classlabels_strings: Strings = None
    intercepts: Floats = None
    multi_class: int = 0
    post_transform: str = "NONE"
    outputs = 2

    def infer(self, X: TensorType) -> Any:
        return _scores(X, self.classlabels_strings, self.classlabels_ints)


@dataclass(frozen=True)
class LinearRegressor(_Classic):
    """The targets of a linear model."""

    coefficients: Floats = None
    intercepts: Floats = None
    post_transform: str = "NONE"
    targets: int = 1

    def infer(self, X: TensorType) -> TensorType:
        return _matrix(DType.FLOAT, _rows(X), self.targets)


@dataclass(frozen=True)
class Normalizer(_Classic):
    """Rows divided by their norm."""

    norm: str = "MAX"

    def infer(self, X: TensorType) -> TensorType:
        return TensorType(DType.FLOAT, X.shape if isinstance(X, TensorType) else None)


@dataclass(frozen=True)
class OneHotEncoder(_Classic):
    """One column per category."""

    cats_int64s: Ints = None
    cats_strings: Strings = None
    zeros: int = 1

    def infer(self, X: TensorType) -> TensorType:
        count = len(self.cats_strings or self.cats_int64s or ())
        shape = X.shape if isinstance(X, TensorType) else None
        return TensorType(DType.FLOAT, None if shape is None else (*shape, count))


@dataclass(frozen=True)
class Scaler(_Classic):
    """(x - offset) * scale."""

    offset: Floats = None
    scale: Floats = None

    def infer(self, X: TensorType) -> TensorType:
        return TensorType(DType.FLOAT, X.shape if isinstance(X, TensorType) else None)


@dataclass(frozen=True)
class SVMClassifier(_Classic):
    """Labels and scores of a support vector machine."""

    classlabels_ints: Ints = None
    classlabels_strings: Strings = None
    coefficients: Floats = None
    kernel_params: Floats = None
    kernel_type: str = "LINEAR"
    post_transform: str = "NONE"
    prob_a: Floats = None
    prob_b: Floats = None
    rho: Floats = None
    support_vectors: Floats = None
    vectors_per_class: Ints = None
    outputs = 2

    def infer(self, X: TensorType) -> Any:
        labels, _ = _scores(X, self.classlabels_strings, self.classlabels_ints)
        return labels, _matrix(DType.FLOAT, _rows(X), None)  # votes or probabilities


@dataclass(frozen=True)
class SVMRegressor(_Classic):
    """The target of a support vector machine."""

    coefficients: Floats = None
    kernel_params: Floats = None
    kernel_type: str = "LINEAR"
    n_supports: int = 0
    one_class: int = 0
    post_transform: str = "NONE"
    rho: Floats = None
    support_vectors: Floats = None

    def infer(self, X: TensorType) -> TensorType:
        return _matrix(DType.FLOAT, _rows(X), 1)


@dataclass(frozen=True)
class TreeEnsemble(_Classic):
    """Several decision trees, their leaves combined per target."""

    leaf_targetids: tuple[int, ...]
    leaf_weights: TensorData
    nodes_falseleafs: tuple[int, ...]
    nodes_falsenodeids: tuple[int, ...]
    nodes_featureids: tuple[int, ...]
    nodes_modes: TensorData
    nodes_splits: TensorData
    nodes_trueleafs: tuple[int, ...]
    nodes_truenodeids: tuple[int, ...]
    tree_roots: tuple[int, ...]
    aggregate_function: int = 1
    membership_values: TensorData | None = None
    n_targets: int | None = None
    nodes_hitrates: TensorData | None = None
    nodes_missing_value_tracks_true: Ints = None
    post_transform: int = 0
    since = 5

    def infer(self, X: TensorType) -> Any:
        if not isinstance(X, TensorType):
            return unknown_of(X, "X")
        return _matrix(X.dtype, _rows(X), self.n_targets)


@dataclass(frozen=True)
class TreeEnsembleClassifier(_Classic):
    """Labels and scores of several decision trees."""

    base_values: Floats = None
    base_values_as_tensor: TensorData | None = None
    class_ids: Ints = None
    class_nodeids: Ints = None
    class_treeids: Ints = None
    class_weights: Floats = None
    class_weights_as_tensor: TensorData | None = None
    classlabels_int64s: Ints = None
    classlabels_strings: Strings = None
    nodes_falsenodeids: Ints = None
    nodes_featureids: Ints = None
    nodes_hitrates: Floats = None
    nodes_hitrates_as_tensor: TensorData | None = None
    nodes_missing_value_tracks_true: Ints = None
    nodes_modes: Strings = None
    nodes_nodeids: Ints = None
    nodes_treeids: Ints = None
    nodes_truenodeids: Ints = None
    nodes_values: Floats = None
    nodes_values_as_tensor: TensorData | None = None
    post_transform: str = "NONE"
    outputs = 2

    def infer(self, X: TensorType) -> Any:
        return _scores(X, self.classlabels_strings, self.classlabels_int64s)


@dataclass(frozen=True)
class TreeEnsembleRegressor(_Classic):
    """The targets of several decision trees."""

    aggregate_function: str = "SUM"
    base_values: Floats = None
    base_values_as_tensor: TensorData | None = None
    n_targets: int | None = None
    nodes_falsenodeids: Ints = None
    nodes_featureids: Ints = None
    nodes_hitrates: Floats = None
    nodes_hitrates_as_tensor: TensorData | None = None
    nodes_missing_value_tracks_true: Ints = None
    nodes_modes: Strings = None
    nodes_nodeids: Ints = None
    nodes_treeids: Ints = None
    nodes_truenodeids: Ints = None
    nodes_values: Floats = None
    nodes_values_as_tensor: TensorData | None = None
    post_transform: str = "NONE"
    target_ids: Ints = None
    target_nodeids: Ints = None
    target_treeids: Ints = None
    target_weights: Floats = None
    target_weights_as_tensor: TensorData | None = None

    def infer(self, X: TensorType) -> TensorType:
        return _matrix(DType.FLOAT, _rows(X), self.n_targets)
