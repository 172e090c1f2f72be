"""Transpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..op import Op
from ..types import TensorType
from .cells import cells, from_cells, unknown_of
from .common import attribute_error


@dataclass(frozen=True)
class Transpose(Op):
    """Permute the dimensions: result dimension i is operand dimension ``perm[i]`` (default: reversed)."""

    perm: tuple[int, ...] | None = None

    def infer(self, data: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        shape, perm = data.shape, self.perm
        if shape is None:
            return TensorType(data.dtype, None if perm is None else (None,) * len(perm))  # type: ignore[arg-type]
        if perm is None:
            perm = tuple(range(len(shape) - 1, -1, -1))
        elif sorted(perm) != list(range(len(shape))):
            raise attribute_error(f"perm {list(perm)} is not a permutation of the {len(shape)} dimensions")
        result = tuple([shape[p] for p in perm])
        if data.content is None:
            return TensorType(data.dtype, result)
        known = cells(data)
        return from_cells(data.dtype, result, None if known is None else known.transpose(perm))

    def evaluate(self, data: Any) -> Any:
        return np.transpose(data, self.perm)
