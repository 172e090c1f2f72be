"""Symbolic dimensions: canonical form, agreement with sympy and with integer arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.ir import dims
from edgec.ir.dims import Expr, symbol
from edgec.ir.dims_sweep import lambdify

NAMES = ("batch", "seq", "past")


def _expressions(depth: int = 3) -> st.SearchStrategy:
    leaves = st.one_of(st.integers(-8, 8), st.sampled_from([symbol(n) for n in NAMES]))
    if not depth:
        return leaves
    inner = _expressions(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, st.integers(1, 6)).map(lambda p: dims.floordiv(*p)),
        st.tuples(inner, st.integers(1, 6)).map(lambda p: dims.modulo(*p)),
        st.tuples(inner, inner).map(lambda p: dims.maximum(*p)),
        st.tuples(inner, inner).map(lambda p: dims.minimum(*p)),
    )


def _python(text: str, bindings: dict[str, int]) -> int:
    """Evaluate the printed form with Python's own integer arithmetic."""
    return eval(text, {"max": max, "min": min, **bindings})  # noqa: S307  (text printed by the class under test)


BINDINGS = st.fixed_dictionaries({name: st.integers(0, 20) for name in NAMES})


@settings(max_examples=200, deadline=None)
@given(_expressions(), BINDINGS)
def test_value_equals_python_arithmetic_on_the_printed_form(dim, bindings):
    assert dims.substitute(dim, bindings) == _python(str(dim), bindings)


@settings(max_examples=60, deadline=None)
@given(_expressions(2), BINDINGS)
def test_value_equals_sympy(dim, bindings):
    from edgec.ir.dims_sympy import sympy_symbol, to_sympy

    value = to_sympy(dim).subs({sympy_symbol(n): v for n, v in bindings.items()})
    assert dims.substitute(dim, bindings) == int(value)


@settings(max_examples=150, deadline=None)
@given(_expressions(2), _expressions(2), _expressions(2))
def test_ring_laws_hold_structurally(a, b, c):
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0 and hash(a + b) == hash(b + a)


@settings(max_examples=200, deadline=None)
@given(_expressions(), BINDINGS)
def test_bounds_contain_every_value(dim, bindings):
    ranges = {name: (max(0, v - 3), v + 3) for name, v in bindings.items()}
    low, high = dims.bounds(dim, ranges)
    assert low <= dims.substitute(dim, bindings) <= high


@settings(max_examples=100, deadline=None)
@given(_expressions(2))
def test_exact_division_undoes_multiplication(dim):
    seq = symbol("seq")
    assert dims.floordiv(dim * seq, seq) == dim
    assert dims.floordiv(dim * 12, 12) == dim


def test_reshape_style_quotients_cancel():
    batch, seq = symbol("batch"), symbol("seq")
    assert (batch * seq * 768) // (seq * 768) == batch
    assert (batch * (seq + 2) * 6) // (3 * seq + 6) == 2 * batch
    assert dims.ceildiv(seq, 2) * 2 != seq
    assert (2 * seq + 5) % 2 == 1
    assert ((seq + 1) // 2 + 1) // 2 == (seq + 3) // 4


def test_broadcast_of_symbols_and_constants():
    batch, seq = symbol("batch"), symbol("seq")
    assert dims.broadcast(batch, 1) == batch and dims.broadcast(1, 7) == 7
    assert dims.broadcast(3, 4) is None
    joined = dims.broadcast(batch, seq)
    assert isinstance(joined, Expr) and joined == dims.broadcast(seq, batch) and dims.broadcast(joined, seq) == joined
    assert dims.substitute(joined, {"batch": 1, "seq": 9}) == 9


@st.composite
def _quotients(draw) -> dims.Dim:
    """Expressions whose divisors are themselves sums, products and quotients of symbols."""
    pool: list[dims.Dim] = [*(symbol(n) for n in NAMES), *range(1, 7)]
    for _ in range(draw(st.integers(1, 6))):
        left, right = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        rules = (
            lambda a, b: a + b,
            lambda a, b: a * b,
            lambda a, b: dims.floordiv(a, b + 1),
            lambda a, b: dims.modulo(a, b + 1),
            lambda a, b: dims.floordiv(a, b * 2 + b * a + 1),
            lambda a, b: dims.modulo(a, (b + 1) * 3),
        )
        pool.append(draw(st.sampled_from(rules))(left, right))
    return pool[-1]


@settings(max_examples=300, deadline=None)
@given(_quotients(), st.fixed_dictionaries({name: st.integers(1, 30) for name in NAMES}))
def test_the_printed_form_of_quotients_is_not_ambiguous(dim, bindings):
    try:
        expected = dims.substitute(dim, bindings)
    except ZeroDivisionError:
        return
    assert _python(str(dim), bindings) == expected


def test_divisors_are_in_brackets_where_needed():
    a, b, c = symbol("a"), symbol("b"), symbol("c")
    assert str(dims.modulo(a, 2 * b)) == "a % (2*b)"
    assert str(dims.floordiv(a, b * c) + 1) == "a // (b*c) + 1"
    assert str(dims.floordiv(a, dims.floordiv(b, c))) == "a // (b // c)"
    assert str(dims.floordiv(dims.floordiv(a, b), c)) == "a // b // c"
    assert str(dims.floordiv(a, b**2)) == "a // (b**2)"
    assert str(3 * dims.floordiv(2 * a, 7) + b) == "3*(2*a // 7) + b"


@pytest.mark.parametrize(
    "name", ["it's", 'a "b"', "back\\slash", "new\nline", "a b", "'", "\\'", '\\"', "min", "a) + 'b", "//) + ", "é", ""]
)
def test_any_symbol_name_reads_back(name):
    from edgec.ir.text.dims import DimReader
    from edgec.ir.text.lexer import Source, tokens

    dim = dims.floordiv(symbol(name) * 2 + 1, 3) + symbol("other") % (2 * symbol(name))
    text = str(dim)
    source = Source(text, "test")
    assert "\n" not in text and DimReader(source, tokens(source)).expression() == dim


def test_symbolic_truth_is_refused():
    with pytest.raises(TypeError, match="not known"):
        bool(symbol("batch"))


def test_lambdify_sweeps_with_numpy():
    batch, seq = symbol("batch"), symbol("seq")
    macs = lambdify([batch * seq * 64, dims.ceildiv(seq, 3)], ["batch", "seq"])
    first, second = macs(np.array([1, 2]), np.array([7, 8]))
    assert first.tolist() == [448, 1024] and second.tolist() == [3, 3]
