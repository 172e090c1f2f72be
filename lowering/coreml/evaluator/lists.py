"""Lists of tensors of one shape. A list is a Python list; writing gives a new one.

Elements that were never written are zeros; they are None as long as the elements' shape is not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined
from .registry import Call, operator
from .values import BY_NAME, Array


@operator("make_list", moves=True, tuples=("elem_shape",))
def make_list(elem_shape: list[Any], init_length: Any = 1, dynamic_length: Any = True, dtype: str = "fp32") -> list[Any]:
    """A list of zeros; a text among the sizes stands for one that is not known."""
    if dtype not in BY_NAME:
        undefined(f"there is no element type '{dtype}'")
    if any(isinstance(n, str) for n in elem_shape):
        return [None] * int(init_length)
    return [np.zeros([int(n) for n in elem_shape], BY_NAME[dtype].stored)] * int(init_length)


def _place(index: Any, length: int) -> int:
    if not 0 <= int(index) < length:
        undefined(f"index {int(index)} lies outside of the list's {length} elements")
    return int(index)


def _element(ls: list[Any], index: Any) -> Array:
    value = ls[_place(index, len(ls))]
    return undefined(f"element {int(index)} was never written and its shape is not known") if value is None else value


@operator("list_length", moves=True)
def list_length(ls: list[Any]) -> Array:
    return np.array(len(ls), np.int32)


@operator("list_read", moves=True)
def list_read(ls: list[Any], index: Any) -> Array:
    return _element(ls, index)


@operator("list_gather", moves=True)
def list_gather(ls: list[Any], indices: Array) -> Array:
    """The elements at the indices, packed along a new first axis."""
    return np.stack([_element(ls, i) for i in indices])


def _written(ls: list[Any], index: Any, value: Array, call: Call) -> list[Any]:
    """A list with one element replaced; one of dynamic length grows."""
    place, result = int(index), list(ls)
    declared = call.outputs[0]
    if place >= len(result) and declared.length is None:
        result += [np.zeros_like(value)] * (place + 1 - len(result))
    if len(declared.shape) != value.ndim or any(n is not None and n != m for n, m in zip(declared.shape, value.shape, strict=True)):
        undefined(f"the list's elements cannot be {list(value.shape)}")
    result[_place(place, len(result))] = value
    return result


@operator("list_write", moves=True)
def list_write(ls: list[Any], index: Any, value: Array, call: Call) -> list[Any]:
    return _written(ls, index, value, call)


@operator("list_scatter", moves=True)
def list_scatter(ls: list[Any], indices: Array, value: Array, call: Call) -> list[Any]:
    """A list with the elements at the indices replaced by the slices of a tensor."""
    if len(indices) != len(value):
        undefined(f"{len(indices)} indices and {len(value)} values")
    for index, item in zip(indices, value, strict=True):
        ls = _written(ls, index, item, call)
    return ls
