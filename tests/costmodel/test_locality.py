"""Locality of layouts against simulated caches."""

import pytest

from edgec.costmodel.locality import fetched_bytes, locality


def test_channels_last_walks_through_channels_in_a_row() -> None:
    """A convolution that sums over channels: NHWC reads them in a row, NCHW jumps by the image."""
    last = locality((8, 8, 64), (0, 1, 2))  # H, W, C with C innermost
    first = locality((64, 8, 8), (1, 2, 0))  # C, H, W with C innermost
    assert last.contiguity == 1.0 and last.line_use == 1.0 and last.run == 4096
    assert first.contiguity == 0.0 and first.run == 1 and first.line_use == 4 / 64


def test_transposed_keys() -> None:
    keys = (128, 64)
    assert locality(keys, (0, 1)).line_use == 1.0
    assert locality(keys, (1, 0)).line_use == 4 / 64


@pytest.mark.parametrize("shape, order", [((32, 16), (0, 1)), ((32, 16), (1, 0)), ((8, 4, 16), (1, 0, 2)), ((6, 5, 48), (0, 1, 2))])
def test_line_use_without_reuse_agrees_with_a_tiny_cache(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    """With room for one line every run fetches its lines once."""
    found = locality(shape, order)
    used = 4
    for size in shape:
        used *= size
    assert used / fetched_bytes(shape, order, 64) == pytest.approx(found.line_use)


def test_a_large_cache_forgives_jumps() -> None:
    assert fetched_bytes((64, 16), (1, 0), 64 * 64) == 64 * 16 * 4 < fetched_bytes((64, 16), (1, 0), 1024)


def test_rows_that_fill_no_lines_split_loads() -> None:
    assert locality((8, 64), (0, 1)).split_share == 0.0
    ragged = locality((64, 2, 13), (1, 0, 2))
    assert ragged.run == 13 and 0 < ragged.split_share < 1 and ragged.line_use < 1
