"""The one module that imports sympy: conversion of dimensions."""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy

from .dims import Atom, Dim, Expr


@cache
def sympy_symbol(name: str) -> Any:
    """The sympy symbol of a dimension symbol: an integer, not negative."""
    return sympy.Symbol(name, integer=True, nonnegative=True)


def to_sympy(dim: Dim) -> Any:
    """A dimension as a sympy expression."""
    if not isinstance(dim, Expr):
        return sympy.Integer(dim)
    return sympy.Add(*(sympy.Mul(coefficient, *(_atom(atom) ** power for atom, power in monomial)) for monomial, coefficient in dim.terms))


def _atom(atom: Atom) -> Any:
    if atom.arguments is None:
        return sympy_symbol(atom.name)
    arguments = [to_sympy(a) for a in atom.arguments]
    if atom.name == "floordiv":
        return sympy.floor(arguments[0] / arguments[1])
    if atom.name == "mod":
        return sympy.Mod(*arguments)
    return (sympy.Min if atom.name == "min" else sympy.Max)(*arguments)
