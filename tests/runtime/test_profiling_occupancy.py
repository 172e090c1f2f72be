"""Theoretical occupancy against published limits and tables."""

import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.runtime.profiling.occupancy import occupancy


@pytest.mark.parametrize(
    "capability, threads, registers, shared, warps, share, limit",
    [
        # CUDA C++ Programming Guide, hardware multithreading: 64 registers and 512 threads fit twice in 64 K registers; 65 do not
        ((8, 0), 512, 64, 0, 32, 0.5, "registers"),
        ((8, 0), 512, 65, 0, 16, 0.25, "registers"),
        ((8, 0), 256, 32, 0, 64, 1.0, "warps"),
        # tuning guides: 8.6 and 8.9 hold 48 warps, so that blocks of 1024 threads fill two thirds
        ((8, 6), 1024, 32, 0, 32, 2 / 3, "warps"),
        ((8, 9), 1024, 32, 0, 32, 2 / 3, "warps"),
        ((8, 6), 256, 40, 0, 48, 1.0, "warps"),
        # 16 and 24 resident blocks (8.6, 8.9) of one warp; 32 on 8.0 and 9.0
        ((8, 6), 32, 16, 0, 16, 1 / 3, "blocks"),
        ((8, 9), 32, 16, 0, 24, 0.5, "blocks"),
        ((8, 0), 32, 16, 0, 32, 0.5, "blocks"),
        ((9, 0), 32, 16, 0, 32, 0.5, "blocks"),
        # shared memory with 1 KB reserved per block: 164, 100 and 228 KB per SM
        ((8, 0), 128, 32, 48 << 10, 12, 12 / 64, "shared memory"),
        ((8, 6), 128, 32, 48 << 10, 8, 8 / 48, "shared memory"),
        ((9, 0), 128, 32, 48 << 10, 16, 0.25, "shared memory"),
        ((9, 0), 384, 168, 227 << 10, 12, 12 / 64, "registers"),
        ((8, 0), 1024, 64, 0, 32, 0.5, "registers"),
        ((8, 0), 128, 255, 0, 8, 0.125, "registers"),
    ],
)
def test_known_cases(capability, threads, registers, shared, warps, share, limit) -> None:
    found = occupancy(capability, threads, registers, shared)
    assert found.warps == warps and found.share == pytest.approx(share) and limit in found.limits


def test_registers_are_handed_out_in_units() -> None:
    """33 registers take as much as 40: 256 registers per warp at a time, warps in fours."""
    assert occupancy((8, 0), 256, 33).by_limit["registers"] == occupancy((8, 0), 256, 40).by_limit["registers"] == 6
    assert occupancy((8, 0), 256, 32).by_limit["registers"] == 8


@pytest.mark.parametrize(
    "capability, threads, registers, shared, text",
    [
        ((3, 0), 128, 32, 0, "3.0 is not known"),
        ((8, 0), 0, 32, 0, "0 threads"),
        ((8, 0), 1025, 32, 0, "1025 threads"),
        ((8, 0), 128, 256, 0, "256 registers"),
        ((8, 6), 128, 32, 100 << 10, "102400 bytes"),
        ((8, 0), 1024, 255, 0, "no block fits: registers"),
    ],
)
def test_impossible_launches(capability, threads, registers, shared, text) -> None:
    with pytest.raises(Diagnostic, match=text) as caught:
        occupancy(capability, threads, registers, shared)
    assert caught.value.code == "E0652"
