"""Equal constants become one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..ir.data import ArrayData, TensorData
from ..ir.graph import Graph, Value
from .base import Change, Pass
from .context import Context

SMALL = 4096  # bytes up to which the contents themselves are the key
_SAMPLE = 64  # bytes of each of the three samples of a larger constant
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ShareConstants(Pass):
    """Let equal constants be one value.

    Only constants of equal element type and shape are compared; large ones by samples first, and then chunk by chunk, so that data
    that is alone of its kind is never read.
    """

    name: ClassVar[str] = "share-constants"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        shared = 0
        kinds: dict[tuple[Any, tuple[int, ...]], list[Value]] = {}
        for value in graph.constants():
            if value.data is not None:
                kinds.setdefault((value.data.dtype, value.data.shape), []).append(value)
        pool = ConstantPool()
        for alike in kinds.values():
            if len(alike) < 2:
                continue
            for value in alike:
                first = pool.representative(value)
                if first is not value and context.permit(self.name):
                    graph.replace(value, first)
                    first.origins += tuple(o for o in value.origins if o not in first.origins)
                    shared += 1
        return Change.of("constant", shared)


class ConstantPool:
    """Finds for each constant the first equal one that it was asked about."""

    def __init__(self) -> None:
        self._known: dict[Value, Value] = {}
        self._by_key: dict[Any, list[Value]] = {}

    def representative(self, value: Value) -> Value:
        """The first of the constants equal to this one, which may be this one."""
        found = self._known.get(value)
        if found is None:
            assert value.data is not None
            found = self._known[value] = self._find(value, value.data)
        return found

    def _find(self, value: Value, data: TensorData) -> Value:
        key = (data.dtype, data.shape, _key(data))
        alike = self._by_key.setdefault(key, [])
        exact = data.dtype.bits == 0 or data.nbytes <= SMALL
        for other in alike:
            if exact or other.data is data or (other.data is not None and _equal(other.data, data)):
                return other
        alike.append(value)
        return value


def _key(data: TensorData) -> Any:
    """All of a small constant's contents, samples of a larger one's."""
    if data.dtype.bits == 0:
        return tuple(data.numpy().reshape(-1).tolist())
    if data.nbytes <= SMALL:
        return data.numpy().tobytes()
    flat = _bytes(data)
    middle = flat.size // 2
    return b"".join(part.tobytes() for part in (flat[:_SAMPLE], flat[middle : middle + _SAMPLE], flat[-_SAMPLE:]))


def _bytes(data: TensorData) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The contents as bytes: one element per item of sub-byte types held as arrays, packed otherwise, without a copy if possible."""
    if isinstance(data, ArrayData):
        return np.ascontiguousarray(data.array).reshape(-1).view(np.uint8)
    return np.frombuffer(data.raw(), np.uint8)


def _equal(left: TensorData, right: TensorData) -> bool:
    first, second = _bytes(left), _bytes(right)
    if first.size != second.size:
        return False  # one packed, one not: treated as different
    return all(np.array_equal(first[start : start + _CHUNK], second[start : start + _CHUNK]) for start in range(0, first.size, _CHUNK))
