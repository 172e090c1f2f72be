"""Symbolic dimensions: integer expressions in a canonical form, so that equal expressions compare equal.

An expression is a polynomial with integer coefficients over *atoms*. An atom is a symbol (a non-negative integer such as
``batch``) or an application of ``floordiv``, ``mod``, ``max``, ``min`` or ``broadcast`` that could not be reduced. Plain integers
never become expressions, and the polynomial arithmetic never imports sympy: sympy is asked only where a real algebra system is
needed (`Expr.sympy`, `provably_equal`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from . import intervals

Monomial = tuple[tuple["Atom", int], ...]  # atoms with their powers, sorted
Dim: TypeAlias = "int | Expr"

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9.]*\Z")
_FUNCTIONS = ("floordiv", "mod", "max", "min", "broadcast")


class Atom:
    """A symbol (no arguments) or an irreducible function application. Interned: equal atoms are identical."""

    __slots__ = ("name", "arguments", "key")
    _interned: dict[tuple[str, tuple[Dim, ...] | None], Atom] = {}

    name: str
    arguments: tuple[Dim, ...] | None
    key: str

    def __new__(cls, name: str, arguments: tuple[Dim, ...] | None = None) -> Atom:
        found = cls._interned.get((name, arguments))
        if found is None:
            found = object.__new__(cls)
            found.name, found.arguments = name, arguments
            found.key = found._text()
            cls._interned[(name, arguments)] = found
        return found

    def _text(self) -> str:
        if self.arguments is None:
            return self.name if _IDENTIFIER.match(self.name) and self.name not in _FUNCTIONS else quote_symbol(self.name)
        if self.name in ("floordiv", "mod"):
            return f"({self.infix})"
        return f"{self.name}({', '.join(str(a) for a in self.arguments)})"

    @property
    def infix(self) -> str:
        """A division or remainder without the brackets around it."""
        assert self.arguments is not None
        left, right = self.arguments
        return f"{_dividend(left)} {'//' if self.name == 'floordiv' else '%'} {_divisor(right)}"

    def __lt__(self, other: Atom) -> bool:
        return self.key < other.key

    def __repr__(self) -> str:
        return self.key

    def __reduce__(self) -> tuple[Any, ...]:
        return Atom, (self.name, self.arguments)


def quote_symbol(name: str) -> str:
    """A symbol that is no identifier, in quotes; what would end the quotes or the line is escaped as in JSON.

    >>> print(quote_symbol("it's"), quote_symbol("a b"))
    'it\\u0027s' 'a b'
    """
    inside = json.dumps(name, ensure_ascii=False)[1:-1].replace('\\"', '"')
    return "'" + inside.replace("'", "\\u0027") + "'"


def _dividend(dim: Dim) -> str:
    text = str(dim)
    return f"({text})" if isinstance(dim, Expr) and len(dim.terms) > 1 else text


def _divisor(dim: Dim) -> str:
    """Division groups to the left: a divisor that is more than one symbol, number or call needs brackets."""
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        monomial, coefficient = dim.terms[0]
        if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1:
            return monomial[0][0].key
    return f"({dim})" if isinstance(dim, Expr) else str(dim)


class Expr:
    """A non-constant integer expression in canonical form. Immutable and hashable.

    >>> batch, seq = symbol("batch"), symbol("seq")
    >>> (batch * 4 * seq) // 2 == 2 * seq * batch
    True
    >>> print((seq + 3) // 2 + 1, (5 * seq + 7) % 5)
    (seq + 1) // 2 + 2 2
    """

    __slots__ = ("terms", "_hash")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms  # sorted, coefficients not zero, at least one monomial not empty
        self._hash = hash(terms)

    # -- identity ------------------------------------------------------------------------------------------------
    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms)

    def __bool__(self) -> bool:
        raise TypeError(f"the truth of the symbolic dimension {self} is not known")

    def __reduce__(self) -> tuple[Any, ...]:
        return Expr, (self.terms,)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        parts: list[str] = []
        constant = 0
        for monomial, coefficient in self.terms:
            if not monomial:
                constant = coefficient
                continue
            factors = [a.key if p == 1 else f"{a.key}**{p}" for a, p in monomial]
            if abs(coefficient) != 1:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            parts.append(f" {sign} {'*'.join(factors)}")
        if constant:
            parts.append(f" {'-' if constant < 0 else '+'} {abs(constant)}")
        group = self._leading_group()
        if group is not None:
            parts[0] = f" + {group.infix}"
        text = "".join(parts)
        return "-" + text[3:] if text.startswith(" -") else text[3:]

    def _leading_group(self) -> Atom | None:
        """A division or remainder in front that reads the same without its brackets: ``a // b + 1``."""
        monomial, coefficient = self.terms[0]
        if coefficient != 1 or len(monomial) != 1 or monomial[0][1] != 1:
            return None
        atom = monomial[0][0]
        alone = len(self.terms) == 1
        if atom.arguments is None or atom.name not in (("floordiv", "mod") if alone else ("floordiv",)):
            return None
        return atom

    # -- arithmetic ----------------------------------------------------------------------------------------------
    def __add__(self, other: Dim) -> Dim:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _sum(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _sum(self * -1, other, 1)

    def __neg__(self) -> Dim:
        return self * -1

    def __mul__(self, other: Dim) -> Dim:
        return _product(self, other)

    __rmul__ = __mul__

    def __pow__(self, power: int) -> Dim:
        result: Dim = 1
        for _ in range(power):
            result = result * self
        return result

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return modulo(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return modulo(other, self)

    # -- questions -----------------------------------------------------------------------------------------------
    def symbols(self) -> Iterator[str]:
        """The names of the symbols that occur, each once, in order of first appearance."""
        seen: dict[str, None] = {}
        for monomial, _ in self.terms:
            for atom, _ in monomial:
                if atom.arguments is None:
                    seen[atom.name] = None
                else:
                    for argument in atom.arguments:
                        if isinstance(argument, Expr):
                            seen.update(dict.fromkeys(argument.symbols()))
        return iter(seen)

    @property
    def symbol_name(self) -> str | None:
        """The symbol's name when the expression is exactly one symbol."""
        if len(self.terms) == 1:
            monomial, coefficient = self.terms[0]
            if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0].arguments is None:
                return monomial[0][0].name
        return None

    def substitute(self, bindings: Mapping[str, Dim]) -> Dim:
        """The expression with symbols replaced by other dimensions."""
        if not any(name in bindings for name in self.symbols()):
            return self
        total: Dim = 0
        for monomial, coefficient in self.terms:
            product: Dim = coefficient
            for atom, power in monomial:
                value = _substitute_atom(atom, bindings)
                for _ in range(power):
                    product = product * value
            total = total + product
        return total

    def bounds(self, ranges: Mapping[str, tuple[int, int]]) -> tuple[float, float]:
        """Interval [low, high] given inclusive ranges of symbols; an unlisted symbol lies in [0, inf)."""
        low: float = 0
        high: float = 0
        for monomial, coefficient in self.terms:
            interval: tuple[float, float] = (coefficient, coefficient)
            for atom, power in monomial:
                factor = _atom_bounds(atom, ranges)
                for _ in range(power):
                    interval = intervals.times(interval, factor)
            low, high = low + interval[0], high + interval[1]
        return low, high

    @property
    def sympy(self) -> Any:
        """The same expression as a sympy expression over non-negative integer symbols."""
        from .dims_sympy import to_sympy

        return to_sympy(self)


# -- construction ------------------------------------------------------------------------------------------------
_SYMBOLS: dict[str, Expr] = {}


def symbol(name: str) -> Expr:
    """The symbol with this name: a non-negative integer that is not known at compile time."""
    found = _SYMBOLS.get(name)
    if found is None:
        found = _SYMBOLS[name] = Expr(((((Atom(name), 1),), 1),))
    return found


def _apply(function: str, *arguments: Dim) -> Expr:
    return Expr(((((Atom(function, arguments), 1),), 1),))


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, Expr):
        return dim.terms
    return (((), dim),) if dim else ()


def _canonical(collected: dict[Monomial, int]) -> Dim:
    terms = [(m, c) for m, c in collected.items() if c]
    if not terms:
        return 0
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    terms.sort(key=_term_order)
    return Expr(tuple(terms))


def _term_order(term: tuple[Monomial, int]) -> tuple[int, list[tuple[str, int]]]:
    monomial = term[0]
    return -sum(p for _, p in monomial), [(a.key, -p) for a, p in monomial]


def _sum(left: Dim, right: Dim, sign: int) -> Dim:
    collected = dict(_terms(left))
    for monomial, coefficient in _terms(right):
        collected[monomial] = collected.get(monomial, 0) + sign * coefficient
    return _canonical(collected)


def _product(left: Dim, right: Dim) -> Dim:
    if isinstance(right, int) and isinstance(left, Expr):
        if right == 1:
            return left
        return Expr(tuple((m, c * right) for m, c in left.terms)) if right else 0
    collected: dict[Monomial, int] = {}
    for m1, c1 in _terms(left):
        for m2, c2 in _terms(right):
            powers = dict(m1)
            for atom, power in m2:
                powers[atom] = powers.get(atom, 0) + power
            monomial = tuple(sorted(powers.items(), key=lambda item: item[0].key))
            collected[monomial] = collected.get(monomial, 0) + c1 * c2
    return _canonical(collected)


def _divide_monomial(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    powers = dict(monomial)
    for atom, power in divisor:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        if left:
            powers[atom] = left
        else:
            del powers[atom]
    return tuple(sorted(powers.items(), key=lambda item: item[0].key))


def _exact_quotient(dividend: Dim, divisor: Expr) -> Dim | None:
    """Polynomial division without remainder, or None. The leading terms are those of the canonical order."""
    lead_monomial, lead_coefficient = divisor.terms[0]
    quotient: Dim = 0
    rest = dividend
    for _ in range(64):
        terms = _terms(rest)
        if not terms:
            return quotient
        monomial = _divide_monomial(terms[0][0], lead_monomial)
        if monomial is None or terms[0][1] % lead_coefficient:
            return None
        step = _canonical({monomial: terms[0][1] // lead_coefficient})
        quotient = quotient + step
        rest = rest - step * divisor
    return None


def floordiv(left: Dim, right: Dim) -> Dim:
    """Floor division; divisors that are symbols count as not zero."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if isinstance(right, int):
        if right == 1:
            return left
        if right == 0:
            raise ZeroDivisionError("symbolic dimension divided by zero")
        if right < 0:
            left, right = left * -1, -right
        whole: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for monomial, coefficient in _terms(left):
            whole[monomial], rest[monomial] = divmod(coefficient, right)
        remainder = _canonical(rest)
        if isinstance(remainder, int):
            return _canonical(whole) + remainder // right
        common = math.gcd(right, *(c for _, c in remainder.terms))
        if common > 1:
            remainder, right = floordiv(remainder, common), right // common
        nested = _nested_division(remainder, right)
        return _canonical(whole) + (nested if nested is not None else _apply("floordiv", remainder, right))
    exact = _exact_quotient(left, right)
    return exact if exact is not None else _apply("floordiv", left, right)


def _nested_division(dividend: Dim, divisor: int) -> Dim | None:
    """(x // a + c) // b = (x + a*c) // (a*b) for positive constants."""
    if not isinstance(dividend, Expr):
        return None
    constant = 0
    inner: Atom | None = None
    for monomial, coefficient in dividend.terms:
        if not monomial:
            constant = coefficient
        elif coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1 and inner is None:
            inner = monomial[0][0]
        else:
            return None
    if inner is None or inner.name != "floordiv" or inner.arguments is None or not isinstance(inner.arguments[1], int):
        return None
    return floordiv(inner.arguments[0] + inner.arguments[1] * constant, inner.arguments[1] * divisor)


def modulo(left: Dim, right: Dim) -> Dim:
    """Remainder with the divisor's sign, as in Python."""
    if isinstance(left, int) and isinstance(right, int):
        return left % right
    if isinstance(right, int) and right > 0:
        reduced = _canonical({m: c % right for m, c in _terms(left)})
        return reduced % right if isinstance(reduced, int) else _apply("mod", reduced, right)
    if isinstance(right, Expr) and _exact_quotient(left, right) is not None:
        return 0
    return _apply("mod", left, right)


def ceildiv(left: Dim, right: Dim) -> Dim:
    """Division rounded up, written with floor division."""
    return floordiv(left + right - 1, right)


def _extreme(function: str, pick: Callable[..., Any], dims: Sequence[Dim]) -> Dim:
    flat: dict[Dim, None] = {}
    constants: list[int] = []
    for dim in dims:
        inner = _arguments_of(dim, function)
        for item in inner if inner is not None else (dim,):
            if isinstance(item, int):
                constants.append(item)
            else:
                flat[item] = None
    kept = list(flat)
    survivors: list[Dim] = []
    for index, candidate in enumerate(kept):
        dominated = False
        for other_index, other in enumerate(kept):
            if index == other_index:
                continue
            difference = other - candidate
            low, high = (difference, difference) if isinstance(difference, int) else difference.bounds({})
            wins = low >= 0 if function == "max" else high <= 0
            if wins and (difference != 0 or other_index < index):
                dominated = True
                break
        if not dominated:
            survivors.append(candidate)
    if constants:
        bound = pick(constants)
        limits = [s.bounds({}) for s in survivors if isinstance(s, Expr)]
        implied = any(low >= bound for low, _ in limits) if function == "max" else any(high <= bound for _, high in limits)
        if not implied:
            beaten = [high <= bound if function == "max" else low >= bound for low, high in limits]
            survivors = [s for s, loses in zip(survivors, beaten, strict=True) if not loses]
            survivors.append(bound)
    if len(survivors) == 1:
        return survivors[0]
    return _apply(function, *sorted(survivors, key=str))


def _arguments_of(dim: Dim, function: str) -> tuple[Dim, ...] | None:
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        monomial, coefficient = dim.terms[0]
        if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0].name == function:
            return monomial[0][0].arguments
    return None


def maximum(*dims: Dim) -> Dim:
    """The largest of the dimensions, reduced where the order is known for all non-negative symbols."""
    return max(dims) if all(isinstance(d, int) for d in dims) else _extreme("max", max, dims)  # type: ignore[type-var]


def minimum(*dims: Dim) -> Dim:
    """The smallest of the dimensions, reduced where the order is known for all non-negative symbols."""
    return min(dims) if all(isinstance(d, int) for d in dims) else _extreme("min", min, dims)  # type: ignore[type-var]


def broadcast(left: Dim, right: Dim) -> Dim | None:
    """The dimension that two broadcast together give, or None when they contradict each other.

    Two different symbolic dimensions give ``broadcast(a, b)``: at run time they are equal or one of them is 1.
    """
    if left == right or (isinstance(right, int) and right == 1):
        return left
    if isinstance(left, int) and left == 1:
        return right
    if isinstance(left, int):
        return None if isinstance(right, int) else left
    if isinstance(right, int):
        return right
    if right in (_arguments_of(left, "min") or ()):
        return right  # min(a, b) broadcast with a: a clamp that matters would not broadcast at all
    if left in (_arguments_of(right, "min") or ()):
        return left
    operands: dict[Dim, None] = {}
    for dim in (left, right):
        operands.update(dict.fromkeys(_arguments_of(dim, "broadcast") or (dim,)))
    return _apply("broadcast", *sorted(operands, key=str))


# -- evaluation of atoms -----------------------------------------------------------------------------------------
def apply_function(name: str, arguments: Sequence[Dim]) -> Dim:
    """The value of one of the functions of an atom on (possibly constant) arguments."""
    if name == "floordiv":
        return floordiv(arguments[0], arguments[1])
    if name == "mod":
        return modulo(arguments[0], arguments[1])
    if name == "max":
        return maximum(*arguments)
    if name == "min":
        return minimum(*arguments)
    result: Dim = 1
    for argument in arguments:
        merged = broadcast(result, argument)
        if merged is None:
            raise ValueError(f"dimensions {result} and {argument} do not broadcast")
        result = merged
    return result


def _substitute_atom(atom: Atom, bindings: Mapping[str, Dim]) -> Dim:
    if atom.arguments is None:
        bound = bindings.get(atom.name)
        return bound if bound is not None else symbol(atom.name)
    return apply_function(atom.name, [substitute(a, bindings) for a in atom.arguments])


def substitute(dim: Dim, bindings: Mapping[str, Dim]) -> Dim:
    """`Expr.substitute` for a dimension that may be a plain integer."""
    return dim.substitute(bindings) if isinstance(dim, Expr) else dim


def bounds(dim: Dim, ranges: Mapping[str, tuple[int, int]]) -> tuple[float, float]:
    """`Expr.bounds` for a dimension that may be a plain integer."""
    return dim.bounds(ranges) if isinstance(dim, Expr) else (dim, dim)


def _atom_bounds(atom: Atom, ranges: Mapping[str, tuple[int, int]]) -> tuple[float, float]:
    if atom.arguments is None:
        return ranges.get(atom.name, (0, math.inf))
    return intervals.apply(atom.name, [bounds(a, ranges) for a in atom.arguments])


def provably_equal(left: Dim, right: Dim) -> bool:
    """Whether the two are equal for all values of their symbols, as far as canonical form and sympy can tell."""
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    difference = left - right
    if isinstance(difference, int) or not any(atom.arguments is not None for monomial, _ in difference.terms for atom, _ in monomial):
        return False  # polynomials in canonical form are equal only if identical
    return bool(difference.sympy.simplify() == 0)


def product(dims: Sequence[Dim]) -> Dim:
    """The product of dimensions, 1 for none: the number of elements of a shape."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result
