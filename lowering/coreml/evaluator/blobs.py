"""Weights out of a package's blob files.

A blob file starts with 64 bytes (the number of blobs and the format's version). Each blob has 64 bytes that describe it (a sentinel,
the element type, the number of bytes, where they lie, and how many bits at their end are padding) and its bytes, aligned to 64. Elements
narrower than a byte are packed from the least significant bit on, across byte boundaries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import damaged

Array = np.ndarray[Any, np.dtype[Any]]

SENTINEL = 0xDEADBEEF
VERSION = 2
_HEADER = np.dtype(
    [("sentinel", "<u4"), ("code", "<u4"), ("size", "<u8"), ("offset", "<u8"), ("padding_bits", "<u8"), ("reserved", "<u8", 4)]
)
_CODES = {
    "fp16": 1,
    "fp32": 2,
    "uint8": 3,
    "int8": 4,
    "int16": 6,
    "uint16": 7,
    "int4": 8,
    "uint1": 9,
    "uint2": 10,
    "uint4": 11,
    "uint3": 12,
    "uint6": 13,
    "int32": 14,
    "uint32": 15,
}


def unpacked(packed: Array, bits: int, count: int, signed: bool) -> Array:
    """The first ``count`` elements of ``bits`` bits each out of bytes packed from the least significant bit on.

    >>> unpacked(np.array([0b11100100], np.uint8), 2, 4, signed=False).tolist()
    [0, 1, 2, 3]
    """
    needed = -(-count * bits // 8)
    if packed.size < needed:
        raise damaged(f"{packed.size} bytes cannot hold {count} elements of {bits} bits")
    stream = np.unpackbits(packed[:needed].astype(np.uint8, copy=False), bitorder="little")[: count * bits].reshape(count, bits)
    values = np.packbits(stream, axis=1, bitorder="little").reshape(count)
    if not signed:
        return values
    top = 1 << (bits - 1)
    return ((values.astype(np.int16) ^ top) - top).astype(np.int8)


class BlobFile:
    """One memory-mapped weight file of a package."""

    def __init__(self, path: Path) -> None:
        """Map the file at ``path``; `Diagnostic` E0540 when it is not a blob file."""
        self.path = path
        try:
            self._bytes = np.memmap(path, np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise damaged(f"the weight file cannot be read: {error}", str(path)) from None
        if self._bytes.size < 64 or int(self._bytes[4:8].view("<u4")[0]) != VERSION:
            raise damaged("the weight file has an unknown format", str(path))

    def read(self, offset: int, element: str, stored: np.dtype[Any], shape: Sequence[int], bits: int, signed: bool) -> Array:
        """The tensor whose description lies at ``offset``.

        Args:
            offset: where the blob's description lies, in bytes.
            element: the element type that the program states, for example ``fp16`` or ``uint4``.
            stored: the numpy type of an element (of an unpacked one, when it is narrower than a byte).
            shape: the sizes that the program states.
            bits: bits per element.
            signed: whether narrow elements are signed.

        Raises:
            Diagnostic: E0540 when the blob is not what the program says.
        """
        place = f"{self.path} at byte {offset}"
        if offset % 64 or offset + 64 > self._bytes.size:
            raise damaged("a weight's offset lies outside of its file", place)
        header = self._bytes[offset : offset + 64].view(_HEADER)[0]
        if int(header["sentinel"]) != SENTINEL:
            raise damaged("there is no weight at the stated offset", place)
        if int(header["code"]) != _CODES.get(element):
            raise damaged(f"the stored weight has type code {int(header['code'])}, the program says {element}", place)
        begin, size = int(header["offset"]), int(header["size"])
        count = math.prod(shape)
        if size * 8 - int(header["padding_bits"]) != count * bits or begin + size > self._bytes.size:
            raise damaged(f"the stored weight has {size} bytes, the program says {count} elements of {bits} bits", place)
        raw = self._bytes[begin : begin + size]
        if bits < 8:
            return unpacked(np.asarray(raw), bits, count, signed).reshape(shape)
        return raw.view(stored).reshape(shape)
