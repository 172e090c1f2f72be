"""The measures, against values worked out by hand or by numpy."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgec.runtime.compare import QUANTILES, RESERVOIR, Moments, difference, drift, pooled


def test_relative_error_is_the_ratio_of_norms() -> None:
    found = difference(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    assert found.relative == pytest.approx(0.1)
    assert found.max_abs == 0.5
    assert found.sqnr == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("a", "b", "relative"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [0.0, 1e-30], math.inf),
        ([], [], 0.0),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.nan, 1.0], [1.0, 1.0], math.inf),
        ([np.inf], [np.inf], 0.0),
        ([np.inf], [-np.inf], math.inf),
        ([1e200, 0.0], [1e200, 1e199], 0.1),
        ([1e-200, 0.0], [1e-200, 1e-201], 0.1),
    ],
)
def test_special_values(a: list[float], b: list[float], relative: float) -> None:
    assert difference(np.array(a), np.array(b)).relative == pytest.approx(relative)


def test_nan_on_one_side_is_counted() -> None:
    found = difference(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, np.nan, 3.0, 4.0]))
    assert found.mismatch == 0.25
    assert math.isinf(found.relative)


def test_integers_count_unequal_elements_exactly() -> None:
    big = 2**62
    found = difference(np.array([big, 5, 7, 9]), np.array([big + 1, 5, 7, 9]))
    assert (found.kind, found.relative, found.max_abs) == ("exact", 0.25, 1.0)
    unsigned = difference(np.array([0], np.uint64), np.array([2**64 - 1], np.uint64))
    assert unsigned.max_abs == float(2**64 - 1)


def test_bools_strings_and_none() -> None:
    assert difference(np.array([True, False]), np.array([True, True])).relative == 0.5
    assert difference(np.array(["a", "b"], object), np.array(["a", "c"], object)).relative == 0.5
    assert difference(None, None).relative == 0
    assert math.isinf(difference(None, np.zeros(1)).relative)


def test_shapes_and_sequences() -> None:
    assert difference(np.zeros((2, 3)), np.zeros((3, 2))).kind == "shape"
    assert difference([np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)]).relative == 0
    assert difference([np.ones(2)], [np.ones(2), np.ones(2)]).kind == "shape"
    maps = difference([{"a": 1.0, "b": 2.0}], [{"b": 2.0, "a": 1.5}])
    assert maps.relative == pytest.approx(0.5 / math.sqrt(5))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float16, np.complex64])
def test_all_floating_types_are_floats(dtype: type) -> None:
    a = np.array([1, 2, 3]).astype(dtype)
    found = difference(a, np.array([1, 2, 4]).astype(dtype))
    assert found.kind == "float"
    assert found.relative == pytest.approx(1 / math.sqrt(14))


@given(st.lists(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e3, 1e3)), min_size=1, max_size=4))
def test_pooling_equals_one_long_array(parts: list[np.ndarray]) -> None:
    others = [part + 0.5 for part in parts]
    together = pooled([difference(a, b) for a, b in zip(parts, others, strict=True)])
    whole = difference(np.concatenate(parts), np.concatenate(others))
    if whole.reference_norm > 1e-100:
        assert together.relative == pytest.approx(whole.relative)
    assert together.max_abs == pytest.approx(whole.max_abs)
    assert together.elements == whole.elements


@given(st.lists(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3)), min_size=1, max_size=5))
def test_moments_do_not_depend_on_the_split(parts: list[np.ndarray]) -> None:
    gathered = Moments()
    for part in parts:
        gathered.add(part)
    whole = np.concatenate(parts)
    assert gathered.count == whole.size
    assert gathered.mean == pytest.approx(whole.mean(), abs=1e-9)
    assert gathered.deviation == pytest.approx(whole.std(), abs=1e-6)
    assert gathered.minimum == whole.min() and gathered.maximum == whole.max()
    assert gathered.at_minimum == np.count_nonzero(whole == whole.min())
    assert gathered.at_maximum == np.count_nonzero(whole == whole.max())


def _gathered(array: np.ndarray) -> Moments:
    moments = Moments()
    moments.add(array)
    return moments


def test_quantile_table_has_the_extremes_and_the_median() -> None:
    table = _gathered(np.arange(1001.0)).quantiles()
    assert table[0] == 0 and table[5] == pytest.approx(500) and table[-1] == 1000
    assert table == sorted(table)


def test_quantiles_of_a_large_tensor_come_from_a_subset_but_keep_the_ends() -> None:
    values = np.random.default_rng(0).standard_normal(1_000_000)
    values[123_457] = 50.0
    table = _gathered(values).quantiles()
    assert table[-1] == 50.0 and table[0] == values.min()
    assert table[7] == pytest.approx(1.645, abs=0.05)


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (lambda x: x, []),
        (lambda x: x + 1e-6, []),
        (lambda x: x + 0.1, ["bias"]),
        (lambda x: x * 1.1, ["gain"]),
        (lambda x: np.minimum(x, 2.0), ["saturation-high"]),
        (lambda x: np.maximum(x, -2.0), ["saturation-low"]),
    ],
)
def test_drift_of_a_zero_mean_tensor(change: object, flags: list[str]) -> None:
    values = np.random.default_rng(1).standard_normal(50_000)
    values -= values.mean()
    found = drift(_gathered(values), _gathered(change(values))).flags()  # type: ignore[operator]
    assert set(flags) <= set(found)
    if not flags:
        assert found == []


def test_drift_of_constant_tensors_is_finite() -> None:
    same = drift(_gathered(np.full(10, 3.0)), _gathered(np.full(10, 3.0 + 1e-9)))
    assert same.flags() == []
    assert drift(_gathered(np.zeros(10)), _gathered(np.ones(10))).flags() != []


def test_relu_zeros_are_no_saturation() -> None:
    values = np.maximum(np.random.default_rng(2).standard_normal(10_000), 0)
    assert drift(_gathered(values), _gathered(values * 1.0)).flags() == []


def test_quantiles_see_every_sample_and_not_how_they_were_cut() -> None:
    """A rare tail in the last sample only; the kept subset is the same for any division of the elements."""
    values = np.random.default_rng(0).standard_normal(5 * RESERVOIR + 17).astype(np.float32)
    values[-RESERVOIR:] += 100
    whole, parts = Moments(), Moments()
    whole.add(values)
    for piece in np.split(values, [3, 1000, RESERVOIR, 3 * RESERVOIR + 5]):
        parts.add(piece)
    assert np.array_equal(whole.reservoir, parts.reservoir) and whole.reservoir.size <= RESERVOIR
    table = dict(zip(QUANTILES, parts.quantiles(), strict=True))
    exact = dict(zip(QUANTILES, np.percentile(values, QUANTILES), strict=True))
    assert table[95.0] == pytest.approx(exact[95.0], abs=0.1) and table[75.0] == pytest.approx(exact[75.0], abs=0.1)
    assert table[0.0] == exact[0.0] and table[100.0] == exact[100.0]
