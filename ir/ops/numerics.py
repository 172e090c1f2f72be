"""Precision rules that the numpy evaluations share: 16-bit floats are computed in float32 and rounded once at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def widened(array: Array) -> Array:
    """The array in a type numpy computes with: 16-bit and smaller floats become float32, everything else stays as it is."""
    if array.dtype.itemsize <= 2 and array.dtype.kind not in "iub":
        return array.astype(np.float32)
    return array


def rounded(array: Any, dtype: Any) -> Array:
    """The array in the result type; no copy when it has it already."""
    return np.asarray(array).astype(dtype, copy=False)


def exact(array: Array) -> Array:
    """Integers as float64, in which sums of products of 8-bit integers are exact and matrix products are fast."""
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def softmax(scores: Array) -> Array:
    """Softmax along the last axis; a row of minus infinities gives zeros."""
    peak = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isfinite(peak), peak, 0))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)
