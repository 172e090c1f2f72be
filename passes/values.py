"""Small questions about constants that rules ask often."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.graph import Value

Number = int | float | bool | complex


def uniform_number(value: Value | None) -> Number | None:
    """The number that every element of a constant equals, or None (also for text, for empty and for varied constants).

    The contents of a large constant are only looked at as far as its first elements agree.
    """
    if value is None or value.data is None:
        return None
    known = value.tensor.content or value.tensor.numbers
    if known is not None:
        first = known[0]
        return first if all(k == first for k in known) else None  # type: ignore[return-value]
    data = value.data
    if data.dtype.bits == 0 or 0 in data.shape:
        return None
    flat = data.numpy().reshape(-1)
    first = flat[0]
    if flat.size > 1:
        if not (flat[:8] == first).all() or not (flat == first).all():
            return None
    return _number(first)


def element_count(value: Value) -> int | None:
    """The number of elements when the shape is static."""
    count = 1
    for dim in value.shape if value.shape is not None else (None,):
        if type(dim) is not int:
            return None
        count *= dim
    return count


def equals_everywhere(value: Value | None, number: float) -> bool:
    """Whether the value is a constant all of whose elements are exactly this number."""
    found = uniform_number(value)
    return found is not None and found == number


def array_of(value: Value | None) -> np.ndarray[Any, Any] | None:
    """The elements of a constant, None for anything else."""
    return None if value is None or value.data is None else value.data.numpy()


def _number(element: Any) -> Number:
    kind = element.dtype.kind
    if kind == "b":
        return bool(element)
    if kind in "iu":
        return int(element)
    if kind == "c":
        return complex(element)
    return float(element)  # ml_dtypes' types too
