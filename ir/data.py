"""Constant data: large tensors stay where they are (a file, a mapping) until a pass needs their bytes."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .dtypes import DType

Array = np.ndarray[Any, np.dtype[Any]]


class TensorData(ABC):
    """The contents of a constant tensor.

    Attributes:
        dtype: the element type.
    """

    __slots__ = ()

    dtype: DType

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The static shape."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the packed data (0 for strings, whose size is not fixed)."""

    @abstractmethod
    def numpy(self) -> Array:
        """The elements as a read-only array (sub-byte types one element per byte, strings as an object array of str)."""

    @abstractmethod
    def raw(self) -> memoryview | bytes:
        """The packed little-endian bytes as ONNX's ``raw_data`` holds them; not for strings."""


class ArrayData(TensorData):
    """Constant data held as a numpy array."""

    __slots__ = ("array", "dtype", "_digest")

    def __init__(self, array: Any, dtype: DType | None = None) -> None:
        """Wrap an array (or anything numpy understands); the array is used as it is and must not change afterwards."""
        array = np.asarray(array)
        if array.dtype.kind in "US":
            array = array.astype(np.object_)
        self.dtype = dtype if dtype is not None else DType.from_numpy(array.dtype)
        if array.dtype != self.dtype.numpy:
            array = array.astype(self.dtype.numpy)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        self.array: Array = array
        self._digest: bytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.array.size)

    def numpy(self) -> Array:
        return self.array

    def raw(self) -> memoryview | bytes:
        return pack(self.array, self.dtype)

    def __repr__(self) -> str:
        return f"ArrayData({self.dtype}{list(self.shape)})"


class BufferData(TensorData):
    """Constant data inside a larger read-only buffer, usually a memory-mapped file; nothing is copied or decoded early."""

    __slots__ = ("dtype", "_shape", "buffer", "offset", "length", "_array")

    def __init__(self, dtype: DType, shape: tuple[int, ...], buffer: Any, offset: int, length: int) -> None:
        expected = dtype.nbytes(math.prod(shape))
        if length != expected:
            raise ValueError(f"{length} bytes of data for {dtype}{list(shape)}, which takes {expected}")
        self.dtype, self._shape, self.buffer, self.offset, self.length = dtype, shape, buffer, offset, length
        self._array: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def nbytes(self) -> int:
        return self.length

    def numpy(self) -> Array:
        if self._array is None:
            self._array = unpack(self.raw(), self.dtype, self.shape)
        return self._array

    def raw(self) -> memoryview:
        return memoryview(self.buffer)[self.offset : self.offset + self.length]

    def __repr__(self) -> str:
        return f"BufferData({self.dtype}{list(self.shape)})"


def pack(array: Array, dtype: DType) -> memoryview | bytes:
    """Little-endian packed bytes of an array; two or four sub-byte elements share a byte, the first in the low bits."""
    if dtype is DType.STRING:
        raise ValueError("strings have no packed form")
    array = np.ascontiguousarray(array)
    if dtype.bits in (2, 4):
        per_byte = 8 // dtype.bits
        codes = array.reshape(-1).view(np.uint8) & ((1 << dtype.bits) - 1)
        padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
        padded[: codes.size] = codes
        columns = padded.reshape(-1, per_byte)
        packed = columns[:, 0].copy()
        for i in range(1, per_byte):
            packed |= columns[:, i] << (dtype.bits * i)
        return packed.tobytes()
    if dtype.bits == 6:
        return _pack_six(array.reshape(-1).view(np.uint8))
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat) if array.size else b""


def unpack(raw: memoryview | bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    """The array whose packed bytes are ``raw``; a read-only view where no unpacking is needed."""
    count = math.prod(shape)
    if dtype.bits in (2, 4):
        per_byte = 8 // dtype.bits
        packed = np.frombuffer(raw, np.uint8)
        shifts = np.arange(per_byte, dtype=np.uint8) * dtype.bits
        codes = ((packed[:, None] >> shifts) & ((1 << dtype.bits) - 1)).reshape(-1)[:count]
        if dtype.is_signed_integer:
            half = 1 << (dtype.bits - 1)
            return ((codes.astype(np.int8) ^ half) - half).astype(dtype.numpy).reshape(shape)
        if dtype.is_integer:
            return codes.astype(dtype.numpy).reshape(shape)
        return codes.view(dtype.numpy).reshape(shape)
    if dtype.bits == 6:
        return _unpack_six(np.frombuffer(raw, np.uint8), count).view(dtype.numpy).reshape(shape)
    if not count:
        return np.zeros(shape, dtype.numpy)
    return np.frombuffer(raw, dtype.numpy, count).reshape(shape)


def _pack_six(codes: Array) -> bytes:
    low: Any = (codes & 63)[:, None]
    bits = np.unpackbits(low, axis=1, bitorder="little")[:, :6].reshape(-1)
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack_six(packed: Array, count: int) -> Array:
    bits = np.unpackbits(packed, bitorder="little")[: count * 6].reshape(count, 6)
    return np.packbits(bits, axis=1, bitorder="little").reshape(-1)


def content_digest(data: TensorData) -> bytes:
    """A digest of element type, shape and contents; equal digests mean equal constants."""
    digest = hashlib.blake2b(f"{data.dtype}{data.shape}".encode(), digest_size=16)
    if data.dtype is DType.STRING:
        for item in data.numpy().reshape(-1):
            encoded = str(item).encode("utf-8", "surrogateescape")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    else:
        digest.update(data.raw())
    return digest.digest()
