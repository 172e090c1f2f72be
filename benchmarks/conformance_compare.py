"""Strict comparison of outputs with what a case of the conformance suite expects."""

from __future__ import annotations

from typing import Any

import numpy as np


class Mismatch(Exception):
    """The outputs differ from the expected ones; the text says where."""


ANY = float("inf")
"""The tolerance of numbers that are drawn."""


def compare(expected: list[Any], actual: list[Any], rtol: float, atol: float) -> None:
    """Compare output lists strictly: count, kind, shape, dtype, then values within the tolerances.

    With a tolerance of `ANY` numbers may have any values but NaN.

    Raises:
        Mismatch: naming the first output that differs.
    """
    if len(expected) != len(actual):
        raise Mismatch(f"{len(actual)} outputs instead of {len(expected)}")
    for index, (want, got) in enumerate(zip(expected, actual, strict=True)):
        _compare_value(f"output {index}", want, got, rtol, atol)


def _compare_value(where: str, want: Any, got: Any, rtol: float, atol: float) -> None:
    if want is None or got is None:
        if not (_is_empty_optional(want) and _is_empty_optional(got)):
            raise Mismatch(f"{where}: {_kind(got)} instead of {_kind(want)}")
        return
    if isinstance(want, (list, tuple)) or isinstance(got, (list, tuple)):
        if not (isinstance(want, (list, tuple)) and isinstance(got, (list, tuple))) or len(want) != len(got):
            raise Mismatch(f"{where}: {_kind(got)} instead of {_kind(want)}")
        for index, (inner_want, inner_got) in enumerate(zip(want, got, strict=True)):
            _compare_value(f"{where}[{index}]", inner_want, inner_got, rtol, atol)
        return
    _compare_arrays(where, np.asarray(want), np.asarray(got), rtol, atol)


def _compare_arrays(where: str, want: np.ndarray, got: np.ndarray, rtol: float, atol: float) -> None:
    if want.shape != got.shape:
        raise Mismatch(f"{where}: shape {list(got.shape)} instead of {list(want.shape)}")
    if want.dtype.kind in "OUS" or got.dtype.kind in "OUS":
        if not (want.dtype.kind in "OUS" and got.dtype.kind in "OUS"):
            raise Mismatch(f"{where}: dtype {got.dtype} instead of {want.dtype}")
        if [_text(item) for item in want.ravel()] != [_text(item) for item in got.ravel()]:
            raise Mismatch(f"{where}: strings differ")
        return
    if want.dtype != got.dtype:
        raise Mismatch(f"{where}: dtype {got.dtype} instead of {want.dtype}")
    if is_exotic(want.dtype):
        if want.dtype.name == "bfloat16":
            rtol = max(rtol, 2**-6)
        want, got = want.astype(np.float32), got.astype(np.float32)
    with np.errstate(all="ignore"):
        close = ~np.isnan(got) if atol == ANY else np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if not np.all(close):
        wrong = np.argwhere(~close)
        first = tuple(int(i) for i in wrong[0])
        raise Mismatch(
            f"{where}: {len(wrong)} of {want.size} values differ, first at {list(first)}: {got[first]!r} instead of {want[first]!r}"
        )


def _is_empty_optional(value: Any) -> bool:
    return value is None or (isinstance(value, np.ndarray) and value.dtype == object and value.item() is None)


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a sequence of {len(value)}"
    return "none" if value is None else "a tensor"


def _text(item: Any) -> str:
    return item.decode("utf-8") if isinstance(item, bytes) else str(item)


def is_exotic(dtype: np.dtype) -> bool:
    """Whether numpy itself lacks the dtype (bfloat16, float8, sub-byte integers and floats)."""
    return dtype.type.__module__.startswith("ml_dtypes")
