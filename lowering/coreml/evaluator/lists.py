"""Lists of tensors of one shape; writing gives a new list.

Elements that were never written are zeros; they are None as long as the elements' shape is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import undefined
from .registry import operator
from .values import BY_NAME, Array


@dataclass(frozen=True)
class TensorList:
    """A list's elements, and whether writing beyond its end makes it longer."""

    elements: tuple[Array | None, ...]
    grows: bool

    def read(self, index: Any) -> Array:
        """The element at an index."""
        value = self.elements[self._place(index)]
        return undefined(f"element {int(index)} was never written and its shape is not known") if value is None else value

    def written(self, index: Any, value: Array) -> TensorList:
        """The list with one element replaced."""
        elements = list(self.elements)
        if self.grows:
            elements += [np.zeros_like(value)] * (int(index) + 1 - len(elements))
        known = next((e for e in elements if e is not None), value)
        if known.shape != value.shape or known.dtype != value.dtype:
            undefined(f"a list of {known.dtype}{list(known.shape)} cannot hold {value.dtype}{list(value.shape)}")
        elements[TensorList(tuple(elements), self.grows)._place(index)] = value
        return TensorList(tuple(elements), self.grows)

    def _place(self, index: Any) -> int:
        if not 0 <= int(index) < len(self.elements):
            undefined(f"index {int(index)} lies outside of the list's {len(self.elements)} elements")
        return int(index)


@operator("make_list", moves=True, tuples=("elem_shape",))
def make_list(elem_shape: list[Any], init_length: Any = 1, dynamic_length: Any = True, dtype: str = "fp32") -> TensorList:
    """A list of zeros; a text among the sizes stands for one that is not known."""
    if dtype not in BY_NAME:
        undefined(f"there is no element type '{dtype}'")
    known = not any(isinstance(n, str) for n in elem_shape)
    empty = np.zeros([int(n) for n in elem_shape], BY_NAME[dtype].stored) if known else None
    return TensorList((empty,) * int(init_length), bool(dynamic_length))


@operator("list_length", moves=True)
def list_length(ls: TensorList) -> Array:
    return np.array(len(ls.elements), np.int32)


@operator("list_read", moves=True)
def list_read(ls: TensorList, index: Any) -> Array:
    return ls.read(index)


@operator("list_gather", moves=True)
def list_gather(ls: TensorList, indices: Array) -> Array:
    """The elements at the indices, packed along a new first axis."""
    return np.stack([ls.read(i) for i in indices])


@operator("list_write", moves=True)
def list_write(ls: TensorList, index: Any, value: Array) -> TensorList:
    return ls.written(index, value)


@operator("list_scatter", moves=True)
def list_scatter(ls: TensorList, indices: Array, value: Array) -> TensorList:
    """The list with the elements at the indices replaced by the slices of a tensor."""
    if len(indices) != len(value):
        undefined(f"{len(indices)} indices and {len(value)} values")
    for index, item in zip(indices, value, strict=True):
        ls = ls.written(index, item)
    return ls
