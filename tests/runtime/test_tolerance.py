"""Tolerances follow the arithmetic: real rounding stays inside, real faults do not."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.runtime.compare import difference
from edgec.runtime.tolerance import resolution, tolerance


@pytest.mark.parametrize("length", [1, 64, 1024, 16384])
def test_reordered_float32_sums_stay_inside(length: int) -> None:
    generator = np.random.default_rng(length)
    a = generator.standard_normal((32, length)).astype(np.float32)
    b = generator.standard_normal((length, 32)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    forward, naive = a @ b, np.zeros((32, 32), np.float32)
    for index in range(length):
        naive += np.outer(a[:, index], b[index])
    allowed = tolerance(DType.FLOAT, length=length)
    assert difference(exact, forward).relative < allowed
    assert difference(exact, naive).relative < allowed


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT8E4M3FN])
def test_storing_in_a_narrow_type_stays_inside(dtype: DType) -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    error = difference(values, values.astype(dtype.numpy).astype(np.float32)).relative
    assert resolution(dtype) / 10 < error < tolerance(dtype)


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT4, DType.INT16])
def test_quantising_a_bell_curve_stays_inside(dtype: DType) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    step = (values.max() - values.min()) / (2**dtype.bits - 1)
    error = difference(values, np.round(values / step) * step).relative
    assert resolution(dtype) / 4 < error < tolerance(dtype)


def test_it_grows_with_depth_length_and_coarseness() -> None:
    assert tolerance(DType.FLOAT, depth=4) == 2 * tolerance(DType.FLOAT)
    assert tolerance(DType.FLOAT, length=4096) > tolerance(DType.FLOAT)
    order = [DType.DOUBLE, DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.INT8, DType.INT4]
    values = [tolerance(dtype) for dtype in order]
    assert values == sorted(values)
    assert tolerance(DType.FLOAT, scale=10) == pytest.approx(10 * tolerance(DType.FLOAT))


def test_a_fixed_threshold_would_trip_on_half_precision() -> None:
    assert tolerance(DType.FLOAT16) > 1e-3 > tolerance(DType.FLOAT, length=4096, depth=100)
