"""Reading arithmetic back from small operators: products of factors and polynomials in one value.

Exporters spell one formula in many ways (``x * 0.5 * (1 + …)``, ``(x / 2) * …``, ``x * (0.5 * …)``). Rules that first bring a product
into the form *constant × factors*, and an argument into the form of a polynomial, recognise all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.binary import Add, Div, Mul, Pow, Sub
from ..ir.ops.unary import Neg
from .values import uniform_number

# Element types in which runtimes have the composite operators; f64 is missing, or is computed in f32.
COMPOSITE_TYPES = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16)
MAX_NODES = 24


@dataclass
class Product:
    """A value as ``constant × factors / divisors``.

    Attributes:
        constant: the product of all constant scalar factors.
        factors: the other factors, in order.
        divisors: what it is divided by, in order.
        nodes: the nodes that were taken apart, the root first.
    """

    constant: float = 1.0
    factors: list[Value] = field(default_factory=list)
    divisors: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


def scalar(value: Value | None) -> float | None:
    """The real number that all elements of a constant equal, provided broadcasting it adds no dimensions that matter (size 1 or scalar)."""
    if value is None or value.data is None or any(d != 1 for d in value.data.shape):
        return None
    number = uniform_number(value)
    return float(number) if isinstance(number, int | float) else None


def rounded(number: float, digits: int = 9) -> float:
    """A number computed from constants without the noise of computing it.

    >>> rounded(0.1 + 0.2), rounded(1e-12 / 3)
    (0.3, 3.33333333e-13)
    """
    return float(f"{number:.{digits}g}")


def exclusive(value: Value, user: Node) -> bool:
    """Whether ``user`` is the only reader of a value."""
    return len(value.uses) == 1 and not value.is_output or all(reader is user for reader, _ in value.uses)


def product_of(root: Node) -> Product:
    """Take a Mul or Div apart, as far down as its inner products are used by nothing else."""
    result = Product()
    _collect(root.output, root, result, inverse=False, is_root=True)
    return result


def _collect(value: Value, user: Node, result: Product, inverse: bool, is_root: bool = False) -> None:
    number = scalar(value)
    if number is not None:
        if inverse and number == 0:
            result.divisors.append(value)
            return
        result.constant = result.constant / number if inverse else result.constant * number
        return
    node = value.producer
    if node is not None and len(result.nodes) < MAX_NODES and (is_root or exclusive(value, user)):
        op = node.op
        if isinstance(op, Mul):
            result.nodes.append(node)
            for operand in node.inputs:
                if operand is not None:
                    _collect(operand, node, result, inverse)
            return
        if isinstance(op, Div):
            left, right = node.inputs
            assert left is not None and right is not None
            result.nodes.append(node)
            _collect(left, node, result, inverse)
            _collect(right, node, result, not inverse)
            return
        if isinstance(op, Neg) and node.inputs[0] is not None:
            result.nodes.append(node)
            result.constant = -result.constant
            _collect(node.inputs[0], node, result, inverse)
            return
    (result.divisors if inverse else result.factors).append(value)


Polynomial = dict[int, float]


def polynomial_in(value: Value, variable: Value, budget: int = MAX_NODES) -> tuple[Polynomial, list[Node]] | None:
    """A value as a polynomial in ``variable``: powers with their coefficients, and the nodes that compute it; None if it is not one."""
    nodes: dict[Node, None] = {}
    found = _polynomial(value, variable, nodes, budget)
    if found is None:
        return None
    return {power: c for power, c in sorted(found.items()) if c}, list(nodes)


def _polynomial(value: Value, variable: Value, nodes: dict[Node, None], budget: int) -> Polynomial | None:
    if value is variable:
        return {1: 1.0}
    number = scalar(value)
    if number is not None:
        return {0: number}
    node = value.producer
    if node is None or len(nodes) >= budget:
        return None
    op = node.op
    if not isinstance(op, Add | Sub | Mul | Div | Pow | Neg):
        return None
    nodes[node] = None
    terms = [_polynomial(v, variable, nodes, budget) for v in node.inputs if v is not None]
    if any(t is None for t in terms):
        return None
    left = terms[0] or {}
    right = terms[1] if len(terms) > 1 else None
    if isinstance(op, Neg):
        return {p: -c for p, c in left.items()}
    assert right is not None
    if isinstance(op, Add | Sub):
        sign = 1.0 if isinstance(op, Add) else -1.0
        merged = dict(left)
        for power, coefficient in right.items():
            merged[power] = merged.get(power, 0.0) + sign * coefficient
        return merged
    if isinstance(op, Mul):
        return _multiply(left, right)
    if set(right) != {0}:
        return None
    exponent = right[0]
    if isinstance(op, Div):
        return {p: c / exponent for p, c in left.items()} if exponent else None
    if exponent not in (1.0, 2.0, 3.0):
        return None
    result: Polynomial = {0: 1.0}
    for _ in range(int(exponent)):
        result = _multiply(result, left)
    return result


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for p, a in left.items():
        for q, b in right.items():
            result[p + q] = result.get(p + q, 0.0) + a * b
    return result


def is_near(polynomial: Polynomial, expected: Polynomial, tolerance: float = 1e-4) -> bool:
    """Whether two polynomials have the same powers and nearly the same coefficients."""
    kept = {p: c for p, c in polynomial.items() if abs(c) > 1e-9}
    return set(kept) == set(expected) and all(abs(kept[p] - c) <= tolerance * abs(c) for p, c in expected.items())
