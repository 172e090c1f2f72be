"""How a value may lie in memory: permuted, and with one axis shuffled inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import Expr

Perm = tuple[int, ...]
REPRESENTATIVE = 64
"""What a symbol counts for in costs."""


def compose(first: Perm, second: Perm) -> Perm:
    """The permutation that applies ``first`` and then ``second``."""
    return tuple(first[axis] for axis in second)


def inverted(perm: Sequence[int]) -> Perm:
    """The permutation that undoes another.

    >>> inverted((0, 2, 3, 1))
    (0, 3, 1, 2)
    """
    places = [0] * len(perm)
    for index, axis in enumerate(perm):
        places[axis] = index
    return tuple(places)


def is_identity(perm: Sequence[int]) -> bool:
    """Whether nothing moves."""
    return all(axis == index for index, axis in enumerate(perm))


def keeps_order(perm: Sequence[int], shape: Sequence[Any]) -> bool:
    """Whether only axes of size 1 move, so that the elements stay where they are.

    >>> keeps_order((0, 2, 3, 1), (2, 8, 1, 1))
    True
    """
    moving = [axis for axis in perm if not _is_one(shape[axis])]
    return moving == sorted(moving)


def _is_one(dim: Any) -> bool:
    return type(dim) is int and dim == 1


@dataclass(frozen=True)
class Shuffle:
    """An order of the elements along one axis: seen as ``dims``, they are transposed by ``order``.

    Attributes:
        axis: the axis of the value as it is written.
        dims: static sizes whose product is the size of the axis.
        order: the permutation of them.
    """

    axis: int
    dims: tuple[int, ...]
    order: Perm

    def indices(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each place along the shuffled axis the place that the element has in the value as written."""
        places = np.arange(math.prod(self.dims), dtype=np.int64).reshape(self.dims)
        return np.ascontiguousarray(places.transpose(self.order)).reshape(-1)


@dataclass(frozen=True)
class Form:
    """One way to hold a value: its axes in the order ``perm``, after shuffling the elements along one of them."""

    perm: Perm
    shuffle: Shuffle | None = None

    @staticmethod
    def written(rank: int) -> Form:
        """The form in which the graph states the value."""
        return Form(tuple(range(rank)))

    @property
    def is_written(self) -> bool:
        return self.shuffle is None and is_identity(self.perm)

    def shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """The dimensions in this form."""
        return tuple(shape[axis] for axis in self.perm)

    def position(self, axis: int, rank: int | None = None) -> int:
        """Where an axis (negative ones count from the end) lies in this form."""
        return self.perm.index(axis % (rank if rank is not None else len(self.perm)))

    def through(self, view: Perm) -> Form:
        """This form of ``transpose(root, view)``, told as a form of ``root``."""
        shuffle = self.shuffle
        if shuffle is not None:
            shuffle = Shuffle(view[shuffle.axis], shuffle.dims, shuffle.order)
        return Form(compose(view, self.perm), shuffle)

    def behind(self, view: Perm) -> Form:
        """This form of ``root``, told as a form of ``transpose(root, view)``."""
        return self.through(inverted(view))

    def apply(self, array: Any) -> Any:
        """An array in this form."""
        if self.shuffle is not None:
            array = np.take(array, self.shuffle.indices(), axis=self.shuffle.axis)
        return np.ascontiguousarray(array.transpose(self.perm))


def conversion(source: Form, target: Form) -> Perm | None:
    """The single permutation that brings one form into another; None when a shuffle must be done or undone."""
    if source.shuffle != target.shuffle:
        return None
    return compose(inverted(source.perm), target.perm)


def is_free(source: Form, target: Form, shape: Sequence[Any]) -> bool:
    """Whether no element moves between two forms of a value of this shape (as written)."""
    perm = conversion(source, target)
    return perm is not None and keeps_order(perm, source.shape(shape))


def size_of(dim: Any) -> int:
    """A representative size of a dimension."""
    if isinstance(dim, Expr):
        dim = dim.substitute({name: REPRESENTATIVE for name in dim.symbols()})
    return dim if isinstance(dim, int) else REPRESENTATIVE


def count_of(shape: Sequence[Any]) -> int:
    """A representative number of elements."""
    return math.prod(size_of(dim) for dim in shape)
