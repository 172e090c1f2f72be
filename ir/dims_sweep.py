"""Dimensions as functions: compiled for sweeps over many values of their symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .dims import Atom, Dim, Expr


def lambdify(dims: Sequence[Dim], symbols: Sequence[str]) -> Callable[..., list[Any]]:
    """A function of the named symbols that returns the values of the dimensions.

    Its arguments are integers or integer numpy arrays that broadcast together (a sweep); the arithmetic is exact.
    """
    compiled = [_compile(d) for d in dims]

    def evaluate(*values: Any) -> list[Any]:
        bindings = dict(zip(symbols, values, strict=True))
        return [value(bindings) for value in compiled]

    return evaluate


def _compile(dim: Dim) -> Callable[[Mapping[str, Any]], Any]:
    if not isinstance(dim, Expr):
        return lambda _: dim
    terms = [(c, [(_compile_atom(a), p) for a, p in m]) for m, c in dim.terms]

    def value(bindings: Mapping[str, Any]) -> Any:
        total: Any = 0
        for coefficient, factors in terms:
            part: Any = coefficient
            for factor, power in factors:
                part = part * factor(bindings) ** power
            total = total + part
        return total

    return value


def _compile_atom(atom: Atom) -> Callable[[Mapping[str, Any]], Any]:
    if atom.arguments is None:
        return lambda bindings: bindings[atom.name]
    inner = [_compile(a) for a in atom.arguments]
    if atom.name == "floordiv":
        return lambda bindings: inner[0](bindings) // inner[1](bindings)
    if atom.name == "mod":
        return lambda bindings: inner[0](bindings) % inner[1](bindings)
    import numpy as np

    pick = np.minimum if atom.name == "min" else np.maximum

    def extreme(bindings: Mapping[str, Any]) -> Any:
        result = inner[0](bindings)
        for other in inner[1:]:
            result = pick(result, other(bindings))
        return result

    return extreme
