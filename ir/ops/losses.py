"""Classification losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, dtype_error, format_shape, shape_error, unify_dim
from .elementwise import check_same, check_type, in_float32, partial, widen
from .softmax import log_softmax

REDUCTIONS = ("mean", "none", "sum")


def _loss_type(op: Op, reduction: str, scores: Any, labels: Any, weight: Any) -> Any:
    if reduction not in REDUCTIONS:
        raise attribute_error(f"reduction is {reduction!r}", hint="choose one of: " + ", ".join(REDUCTIONS))
    if not isinstance(scores, TensorType):
        return partial(scores, labels)
    check_type(op, scores.dtype, FLOATS)
    if isinstance(labels, TensorType) and labels.dtype not in (DType.INT32, DType.INT64):
        raise dtype_error(f"class labels must be i32 or i64, not {labels.dtype}")
    if scores.shape is not None and len(scores.shape) < 2:
        raise shape_error(f"scores must be [batch, classes, …], not {format_shape(scores.shape)}")
    if isinstance(weight, TensorType):
        check_same(op, scores.dtype, weight.dtype)
        if scores.shape is not None and weight.shape is not None:
            if len(weight.shape) != 1:
                raise shape_error(f"class weights must be a list, not {format_shape(weight.shape)}")
            unify_dim(weight.shape[0], scores.shape[1], "the number of classes")
    label_shape = labels.shape if isinstance(labels, TensorType) else None
    shape: Any = None if scores.shape is None else (scores.shape[0], *scores.shape[2:])
    if shape is not None and label_shape is not None:
        if len(shape) != len(label_shape):
            raise shape_error(f"labels {format_shape(label_shape)} do not fit scores {format_shape(scores.shape)}")
        pairs = zip(shape, label_shape, strict=True)
        shape = tuple(unify_dim(a, b, f"dimension {i} of scores and labels") for i, (a, b) in enumerate(pairs))
    return TensorType(scores.dtype, (shape if shape is not None else label_shape) if reduction == "none" else ())


def _negative_log_likelihood(log_prob: Array, labels: Array, weight: Array | None, ignore_index: int | None, reduction: str) -> Any:
    ignored = np.zeros(labels.shape, np.bool_) if ignore_index is None else labels == ignore_index
    safe = np.where(ignored, 0, labels)
    picked = -np.take_along_axis(log_prob, np.expand_dims(safe, 1), axis=1).squeeze(1)
    factors = np.ones(labels.shape, log_prob.dtype) if weight is None else weight[safe]
    factors = np.where(ignored, log_prob.dtype.type(0), factors)
    loss = np.where(ignored, log_prob.dtype.type(0), picked * factors)
    if reduction == "none":
        return loss
    return np.sum(loss) if reduction == "sum" else np.sum(loss) / np.sum(factors)


@dataclass(frozen=True)
class NegativeLogLikelihoodLoss(Op):
    """The negative log-probability of the right class, weighted by class and reduced to ``mean``, ``sum`` or not."""

    ignore_index: int | None = None
    reduction: str = "mean"
    since: ClassVar[int] = 12

    def infer(self, input: TensorType, target: TensorType, weight: TensorType | None = None) -> Any:
        return _loss_type(self, self.reduction, input, target, weight)

    def evaluate(self, input: Array, target: Array, weight: Array | None = None) -> Any:
        return in_float32(
            lambda x: _negative_log_likelihood(x, target, None if weight is None else widen(weight), self.ignore_index, self.reduction),
            input.dtype,
            input,
        )


@dataclass(frozen=True)
class SoftmaxCrossEntropyLoss(Op):
    """The negative log-likelihood loss of the softmax of the scores; the second result is the log-softmax."""

    ignore_index: int | None = None
    reduction: str = "mean"
    since: ClassVar[int] = 12

    def infer(self, scores: TensorType, labels: TensorType, weights: TensorType | None = None) -> Any:
        loss = _loss_type(self, self.reduction, scores, labels, weights)
        return loss, scores.with_shape(scores.shape) if isinstance(scores, TensorType) else partial(scores)

    def evaluate(self, scores: Array, labels: Array, weights: Array | None = None) -> Any:
        log_prob = in_float32(lambda x: log_softmax(x, 1), scores.dtype, scores)
        loss = NegativeLogLikelihoodLoss(self.ignore_index, self.reduction).evaluate(log_prob, labels, weights)
        return loss, log_prob
