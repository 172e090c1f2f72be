"""The few calls of the CUDA driver that running an engine needs, without a Python package for CUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ...ir.diagnostics import Diagnostic
from .codes import E_CUDA

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@cache
def _driver() -> Any:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@cache
def capability() -> str | None:
    """The compute capability of the first GPU, such as ``SM86``; None without a GPU or its driver."""
    driver = _driver()
    count, device = ctypes.c_int(0), ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return None
    if driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    for target, attribute in ((major, _MAJOR), (minor, _MINOR)):
        if driver.cuDeviceGetAttribute(ctypes.byref(target), attribute, device):
            return None
    return f"SM{major.value}{minor.value}"


class Device:
    """The first GPU, with its primary context made current; `Diagnostic` E0553 when a call fails."""

    def __init__(self) -> None:
        self._driver = _driver()
        device, context = ctypes.c_int(0), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context = context
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise Diagnostic(E_CUDA, f"{name} failed with code {status}")

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """A stream; what was allocated on it is freed in the end."""
        self._call("cuCtxSetCurrent", self._context)
        made = Stream(self._call)
        try:
            yield made
        finally:
            made.close()

    def allocate(self, size: int, stream: Stream) -> int:
        """The address of ``size`` bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        stream.owned.append(address.value)
        return address.value

    def upload(self, array: Any, stream: Stream) -> int:
        """The address of a copy of an array on the GPU."""
        address = self.allocate(array.nbytes, stream)
        if array.nbytes:
            self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes))
        return address


class Stream:
    """A queue of work.

    Attributes:
        handle: what TensorRT is given.
        owned: addresses to free.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._stream = ctypes.c_void_p()
        call("cuStreamCreate", ctypes.byref(self._stream), 0)
        self.owned: list[int] = []

    @property
    def handle(self) -> int:
        """The stream as an integer."""
        return self._stream.value or 0

    def download(self, array: Any, address: int) -> None:
        """Wait for the work and copy its result into an array."""
        self._call("cuStreamSynchronize", self._stream)
        if array.nbytes:
            self._call("cuMemcpyDtoH_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def close(self) -> None:
        """Free everything."""
        for address in self.owned:
            self._call("cuMemFree_v2", ctypes.c_uint64(address))
        self._call("cuStreamDestroy_v2", self._stream)
