"""Theoretical occupancy of CUDA kernels: how many warps an SM can hold at once, and what limits it.

Limits per compute capability are those of the CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability", and
of the architecture tuning guides (Ampere: 64 warps, 164 KB of shared memory for 8.0, 48 warps and 100 KB for 8.6; Ada: 48 warps and
100 KB for 8.9; Hopper: 64 warps and 228 KB for 9.0; the system reserves 1 KB of shared memory per block). Registers are handed out to warps
in units of 256, shared memory to blocks in units of 128 bytes, as the occupancy calculator of the toolkit has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...ir.diagnostics import Diagnostic, code

WARP = 32
REGISTER_UNIT = 256  # per warp
WARP_UNIT = 4  # warps are placed on the four partitions of an SM
MOST_REGISTERS = 255  # per thread
RESERVED = 1024  # bytes of shared memory per block from 8.0 on
SHARED_UNIT = 128

E_OCCUPANCY = code(
    "E0652",
    "no block of the kernel fits on an SM",
    "The launch asks for more threads, registers or shared memory per block than the architecture has, or the architecture is not known. "
    "Known compute capabilities: 7.0, 7.2, 7.5, 8.0, 8.6, 8.7, 8.9, 9.0, 10.0, 12.0.",
)

Limit = Literal["warps", "blocks", "registers", "shared memory"]


@dataclass(frozen=True)
class Architecture:
    """What one SM has.

    Attributes:
        warps: resident at most.
        blocks: resident at most.
        registers: of 32 bits.
        shared: bytes of shared memory.
        block_shared: bytes that one block may ask for.
        reserved: bytes that the system takes per block.
    """

    warps: int
    blocks: int
    registers: int
    shared: int
    block_shared: int
    reserved: int = RESERVED


ARCHITECTURES: dict[tuple[int, int], Architecture] = {
    (7, 0): Architecture(64, 32, 65536, 96 << 10, 96 << 10, 0),
    (7, 2): Architecture(64, 32, 65536, 96 << 10, 96 << 10, 0),
    (7, 5): Architecture(32, 16, 65536, 64 << 10, 64 << 10, 0),
    (8, 0): Architecture(64, 32, 65536, 164 << 10, 163 << 10),
    (8, 6): Architecture(48, 16, 65536, 100 << 10, 99 << 10),
    (8, 7): Architecture(48, 16, 65536, 164 << 10, 163 << 10),
    (8, 9): Architecture(48, 24, 65536, 100 << 10, 99 << 10),
    (9, 0): Architecture(64, 32, 65536, 228 << 10, 227 << 10),
    (10, 0): Architecture(64, 32, 65536, 228 << 10, 227 << 10),
    (12, 0): Architecture(48, 24, 65536, 100 << 10, 99 << 10),
}


@dataclass(frozen=True)
class Occupancy:
    """The outcome.

    Attributes:
        warps: resident per SM.
        share: of the greatest number of warps.
        blocks: resident per SM.
        limits: what would have to give way for more blocks.
        by_limit: blocks that each limit alone would admit.
    """

    warps: int
    share: float
    blocks: int
    limits: tuple[Limit, ...]
    by_limit: dict[Limit, int]


def occupancy(capability: tuple[int, int], threads: int, registers: int = 0, shared: int = 0) -> Occupancy:
    """Theoretical occupancy of a launch.

    Args:
        capability: major and minor compute capability.
        threads: per block.
        registers: per thread.
        shared: bytes of static and dynamic shared memory per block.

    Raises:
        Diagnostic: E0652.

    >>> occupancy((8, 0), 256, 32, 0).share, occupancy((8, 6), 1024, 32, 0).share
    (1.0, 0.6666666666666666)
    """
    found = ARCHITECTURES.get((capability[0], capability[1]))
    if found is None:
        raise Diagnostic(E_OCCUPANCY, f"compute capability {capability[0]}.{capability[1]} is not known")
    if not 1 <= threads <= 1024:
        raise Diagnostic(E_OCCUPANCY, f"a block has {threads} threads", hint="from 1 to 1024")
    if not 0 <= registers <= MOST_REGISTERS:
        raise Diagnostic(E_OCCUPANCY, f"a thread has {registers} registers", hint=f"at most {MOST_REGISTERS}")
    if not 0 <= shared <= found.block_shared:
        raise Diagnostic(E_OCCUPANCY, f"a block asks for {shared} bytes of shared memory", hint=f"at most {found.block_shared}")
    warps = -(-threads // WARP)
    per_block = found.reserved + shared
    taken = -(-per_block // SHARED_UNIT) * SHARED_UNIT
    per_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    fitting = found.registers // per_warp // WARP_UNIT * WARP_UNIT if per_warp else found.warps
    by_limit: dict[Limit, int] = {
        "warps": found.warps // warps,
        "blocks": found.blocks,
        "registers": fitting // warps if per_warp else found.blocks,
        "shared memory": found.shared // taken if taken else found.blocks,
    }
    blocks = min(by_limit.values())
    if blocks == 0:
        reason = next(name for name, count in by_limit.items() if count == 0)
        raise Diagnostic(E_OCCUPANCY, f"no block fits: {reason}", hint="smaller blocks, or fewer registers per thread")
    limits: tuple[Limit, ...] = tuple(name for name, count in by_limit.items() if count == blocks)
    return Occupancy(blocks * warps, blocks * warps / found.warps, blocks, limits, by_limit)
