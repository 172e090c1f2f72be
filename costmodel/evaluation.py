"""Expressions compiled to numpy: all the sizes of a model for many values of its symbols at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.dims import Atom, Dim, Expr

Array = np.ndarray[Any, np.dtype[np.float64]]


class Table:
    """Distinct dimensions with a row each; `evaluate` gives their values for n points as an array ``[rows, n]``.

    Values are float64: exact for integers below 2^53, which is beyond the sizes of models.
    """

    def __init__(self) -> None:
        self._rows: dict[Dim, int] = {}
        self._compiled: _Compiled | None = None

    def row(self, dim: Dim) -> int:
        """The row of a dimension, added when it is new."""
        found = self._rows.get(dim)
        if found is None:
            found = self._rows[dim] = len(self._rows)
            self._compiled = None
        return found

    def rows(self, dims: Sequence[Dim]) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The rows of several dimensions."""
        return np.array([self.row(d) for d in dims], dtype=np.intp)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of all dimensions, in order of first appearance."""
        found: dict[str, None] = {}
        for dim in self._rows:
            if isinstance(dim, Expr):
                found.update(dict.fromkeys(dim.symbols()))
        return tuple(found)

    def evaluate(self, bindings: Mapping[str, Any], points: int) -> Array:
        """The value of every row.

        Args:
            bindings: a number, or an array of ``points`` numbers, for every symbol.
            points: how many points there are.
        """
        if self._compiled is None:
            self._compiled = _Compiled(tuple(self._rows))
        return self._compiled(bindings, points)


class _Compiled:
    """Polynomials as a sparse product of coefficients and monomials."""

    def __init__(self, dims: Sequence[Dim]) -> None:
        self.constants = np.array([0 if isinstance(d, Expr) else d for d in dims], dtype=np.float64)
        monomials: dict[Any, int] = {}
        members: list[int] = []
        coefficients: list[float] = []
        starts: list[int] = []
        self.symbolic = np.array([i for i, d in enumerate(dims) if isinstance(d, Expr)], dtype=np.intp)
        for dim in dims:
            if isinstance(dim, Expr):
                starts.append(len(members))
                for monomial, coefficient in dim.terms:
                    members.append(monomials.setdefault(monomial, len(monomials)))
                    coefficients.append(coefficient)
        self.monomials = tuple(monomials)
        self.members = np.array(members, dtype=np.intp)
        self.coefficients = np.array(coefficients, dtype=np.float64)[:, None]
        self.starts = np.array(starts, dtype=np.intp)

    def __call__(self, bindings: Mapping[str, Any], points: int) -> Array:
        result = np.repeat(self.constants[:, None], points, axis=1)
        if not len(self.symbolic):
            return result
        known: dict[Atom, Any] = {}
        values = np.empty((len(self.monomials), points))
        for index, monomial in enumerate(self.monomials):
            part: Any = 1.0
            for atom, power in monomial:
                part = part * _atom(atom, bindings, known) ** power
            values[index] = part
        result[self.symbolic] = np.add.reduceat(values[self.members] * self.coefficients, self.starts, axis=0)
        return result


def _atom(atom: Atom, bindings: Mapping[str, Any], known: dict[Atom, Any]) -> Any:
    found = known.get(atom)
    if found is None:
        found = known[atom] = _atom_value(atom, bindings, known)
    return found


def _atom_value(atom: Atom, bindings: Mapping[str, Any], known: dict[Atom, Any]) -> Any:
    if atom.arguments is None:
        return np.asarray(bindings[atom.name], dtype=np.float64)
    values = [_dim(a, bindings, known) for a in atom.arguments]
    if atom.name == "floordiv":
        return np.floor_divide(values[0], values[1])
    if atom.name == "mod":
        return np.mod(values[0], values[1])
    pick = np.minimum if atom.name == "min" else np.maximum
    result = values[0]
    for value in values[1:]:
        result = pick(result, value)
    return result


def _dim(dim: Dim, bindings: Mapping[str, Any], known: dict[Atom, Any]) -> Any:
    if not isinstance(dim, Expr):
        return np.float64(dim)
    total: Any = 0.0
    for monomial, coefficient in dim.terms:
        part: Any = float(coefficient)
        for atom, power in monomial:
            part = part * _atom(atom, bindings, known) ** power
        total = total + part
    return total
