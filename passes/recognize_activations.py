"""Recognises activation functions that are spelled in small operators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.activation import Clip, Gelu, HardSigmoid, HardSwish, Mish, Sigmoid, Softplus, Swish
from ..ir.ops.binary import Add, Div, Max, Min, Mul, Sub
from ..ir.ops.unary import Erf, Exp, Log, Neg, Reciprocal, Tanh
from .algebra import COMPOSITE_TYPES, Polynomial, Product, exclusive, is_near, polynomial_in, product_of, rounded, scalar
from .driver import RulePass
from .match import Match
from .pattern import C, P
from .rewriter import Decline, Result, Rewriter, rewrites, rewrites_op

GROUP = "recognize-activations"
SWISH_GROUP = "recognize-swish"
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
ERF_ARGUMENT: Polynomial = {1: math.sqrt(0.5)}
TANH_ARGUMENT: Polynomial = {1: SQRT_2_OVER_PI, 3: SQRT_2_OVER_PI * 0.044715}
_ROUNDING = {DType.FLOAT16: 1e-3, DType.BFLOAT16: 8e-3}  # of constants in narrow types
SIGMOID_TANH_ARGUMENT: Polynomial = {power: 2 * c for power, c in TANH_ARGUMENT.items()}


@dataclass(frozen=True)
class RecognizeActivations(RulePass):
    """Replace spelled-out GELU (erf, tanh), HardSwish, HardSigmoid, Sigmoid, Softplus and Mish by one operator."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@dataclass(frozen=True)
class RecognizeSwish(RulePass):
    """Replace x·σ(αx) by Swish (opset 24): SiLU with α = 1, quick GELU with α = 1.702."""

    name: ClassVar[str] = SWISH_GROUP
    groups: ClassVar[tuple[str, ...]] = (SWISH_GROUP,)


# -- gates: x · g(x) ---------------------------------------------------------------------------------------------------
def _gated(product: Product) -> Iterator[tuple[Value, Value]]:
    """The ways to see a product of two factors as (x, gate)."""
    if len(product.factors) == 2 and not product.divisors:
        first, second = product.factors
        rank = product.nodes[0].output.rank
        for x, gate in ((first, second), (second, first)):
            if x.rank == rank:
                yield x, gate


def _one_plus(value: Value, user: type) -> Value | None:
    """The argument ``a`` of ``1 + f(a)``, with f of the operator class ``user``."""
    node = value.producer
    if node is None or not isinstance(node.op, Add):
        return None
    for index in (0, 1):
        inner = node.inputs[1 - index]
        if scalar(node.inputs[index]) == 1.0 and inner is not None and inner.producer is not None:
            if isinstance(inner.producer.op, user):
                return inner.producer.inputs[0]
    return None


def _is_function_of(value: Value | None, x: Value, expected: Polynomial) -> bool:
    if value is None:
        return False
    found = polynomial_in(value, x)
    return found is not None and is_near(found[0], expected, _ROUNDING.get(x.tensor.dtype, 1e-4))


def _credit(b: Rewriter, product: Product) -> None:
    b.credit(*product.nodes)


@rewrites_op(Mul, Div, name="recognize-gelu", group=GROUP, benefit=3)
def recognize_gelu(node: Node, b: Rewriter) -> Result:
    """x/2·(1 + erf(x/√2)) and x/2·(1 + tanh(√(2/π)(x + 0.044715x³))), also as x·σ(2·√(2/π)(…)), in every order of the factors."""
    if node.output.dtype not in COMPOSITE_TYPES:
        return None
    product = product_of(node)
    for x, gate in _gated(product):
        if abs(product.constant - 0.5) < 1e-5:
            if _is_function_of(_one_plus(gate, Erf), x, ERF_ARGUMENT):
                _credit(b, product)
                return b.add(Gelu(), x)
            if _is_function_of(_one_plus(gate, Tanh), x, TANH_ARGUMENT):
                _credit(b, product)
                return b.add(Gelu(approximate="tanh"), x)
        if abs(product.constant - 1.0) < 1e-5 and gate.producer is not None and isinstance(gate.producer.op, Sigmoid):
            if _is_function_of(gate.producer.inputs[0], x, SIGMOID_TANH_ARGUMENT):
                _credit(b, product)
                return b.add(Gelu(approximate="tanh"), x)
    if product.constant and any(_one_plus(f, Erf) is not None or _one_plus(f, Tanh) is not None for f in product.factors):
        return Decline(f"the factors {[f.name for f in product.factors]} times {product.constant:g} are not a GELU", node)
    return None


@rewrites_op(Mul, name="recognize-swish", group=SWISH_GROUP)
def recognize_swish(node: Node, b: Rewriter) -> Result:
    """x·σ(x) and x·σ(αx)."""
    product = product_of(node)
    if abs(product.constant - 1.0) > 1e-6:
        return None
    for x, gate in _gated(product):
        if gate.producer is None or not isinstance(gate.producer.op, Sigmoid) or gate.producer.inputs[0] is None:
            continue
        found = polynomial_in(gate.producer.inputs[0], x)
        if found is not None and set(found[0]) == {1}:
            _credit(b, product)
            return b.add(Swish(alpha=rounded(found[0][1], 7)), x)
    return None


@rewrites_op(Mul, name="recognize-mish", group=GROUP)
def recognize_mish(node: Node, b: Rewriter) -> Result:
    """x·tanh(softplus(x))."""
    product = product_of(node)
    if product.constant != 1.0 or node.output.dtype not in COMPOSITE_TYPES:
        return None
    for x, gate in _gated(product):
        tanh = gate.producer
        if tanh is None or not isinstance(tanh.op, Tanh) or tanh.inputs[0] is None:
            continue
        soft = tanh.inputs[0].producer
        if soft is not None and isinstance(soft.op, Softplus) and soft.inputs[0] is x:
            _credit(b, product)
            return b.add(Mish(), x)
    return None


# -- clipped lines -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _ClippedLine:
    """``clip(slope·x + offset, low, high)``."""

    x: Value
    slope: float
    offset: float
    low: float
    high: float


def _clip_bounds(value: Value) -> tuple[Value, float, float] | None:
    """The operand and the bounds of a Clip, or of Min(Max(…)) with scalar constants."""
    node = value.producer
    if node is None:
        return None
    if isinstance(node.op, Clip):
        low, high = scalar(node.operand(1)), scalar(node.operand(2))
        inner = node.inputs[0]
        return (inner, low, high) if inner is not None and low is not None and high is not None else None
    pair = (Min, Max) if isinstance(node.op, Min) else (Max, Min) if isinstance(node.op, Max) else None
    if pair is None or len(node.inputs) != 2:
        return None
    outer = _constant_and_rest(node)
    if outer is None or outer[1].producer is None or not isinstance(outer[1].producer.op, pair[1]):
        return None
    inner_parts = _constant_and_rest(outer[1].producer)
    if inner_parts is None or not exclusive(outer[1], node):
        return None
    low, high = (inner_parts[0], outer[0]) if pair[0] is Min else (outer[0], inner_parts[0])
    return (inner_parts[1], low, high) if low <= high else None


def _constant_and_rest(node: Node) -> tuple[float, Value] | None:
    if len(node.inputs) != 2:
        return None
    for index in (0, 1):
        number, rest = scalar(node.inputs[index]), node.inputs[1 - index]
        if number is not None and rest is not None:
            return number, rest
    return None


def _clipped_line(value: Value, x: Value | None) -> _ClippedLine | None:
    """A value as a clipped line in ``x``, or in what stands behind all constants."""
    bounds = _clip_bounds(value)
    if bounds is None:
        return None
    inner, low, high = bounds
    producer = inner.producer
    if producer is None or not isinstance(producer.op, Add | Sub | Mul | Div):
        return None
    for operand in producer.inputs:
        if operand is None or scalar(operand) is not None:
            continue
        base = operand
        while x is None and base.producer is not None and isinstance(base.producer.op, Mul | Div | Add | Sub):
            parts = _constant_and_rest(base.producer)
            if parts is None:
                break
            base = parts[1]
        for variable in (x,) if x is not None else (base, operand):
            found = polynomial_in(inner, variable)
            if found is not None and 1 in found[0] and set(found[0]) <= {0, 1}:
                return _ClippedLine(variable, found[0][1], found[0].get(0, 0.0), low, high)
    return None


def _as_hard_sigmoid(constant: float, value: Value, x: Value | None = None) -> tuple[Value, float, float] | None:
    """``constant · clip(slope·x + offset, 0, 1/constant)`` as (x, alpha, beta)."""
    line = _clipped_line(value, x) if constant > 0 and value.dtype in COMPOSITE_TYPES else None
    if line is None or abs(line.low) > 1e-9 or abs(line.high * constant - 1.0) > 1e-4:
        return None
    return line.x, line.slope * constant, line.offset * constant


def _fits(number: float, expected: float) -> bool:
    return abs(number - expected) <= 1e-4 * max(abs(expected), 1e-3)


@rewrites_op(Mul, Div, name="recognize-hard-swish", group=GROUP, benefit=2)
def recognize_hard_swish(node: Node, b: Rewriter) -> Result:
    """x·clip(x + 3, 0, 6)/6 and x·HardSigmoid(x; 1/6, 1/2)."""
    product = product_of(node)
    for x, gate in _gated(product):
        producer = gate.producer
        if producer is not None and isinstance(producer.op, HardSigmoid) and producer.inputs[0] is x:
            alpha, beta = producer.op.alpha * product.constant, producer.op.beta * product.constant
            if _fits(product.constant, 1.0) and _fits(alpha, 1 / 6) and _fits(beta, 0.5):
                _credit(b, product)
                return b.add(HardSwish(), x)
            continue
        line = _as_hard_sigmoid(product.constant, gate, x)
        if line is not None and _fits(line[1], 1 / 6) and _fits(line[2], 0.5):
            _credit(b, product)
            return b.add(HardSwish(), x)
    return None


@rewrites_op(Mul, Div, Clip, name="recognize-hard-sigmoid", group=GROUP)
def recognize_hard_sigmoid(node: Node, b: Rewriter) -> Result:
    """clip(x + 3, 0, 6)/6 and clip(αx + β, 0, 1)."""
    if isinstance(node.op, Clip):
        users = node.output.users()
        if any(isinstance(user.op, Mul | Div) for user in users):
            return None  # the product may be the whole function
        found = _as_hard_sigmoid(1.0, node.output)
    else:
        product = product_of(node)
        if len(product.factors) != 1 or product.divisors:
            return None
        found = _as_hard_sigmoid(product.constant, product.factors[0])
        b.credit(*product.nodes)
    if found is None or found[0].rank != node.output.rank:
        return None
    return b.add(HardSigmoid(alpha=rounded(found[1], 7), beta=rounded(found[2], 7)), found[0])


# -- sigmoid and softplus ------------------------------------------------------------------------------------------------
_ONE_PLUS_EXP_NEG = P(Add)(P(Exp)(P(Neg)("x")), C(1.0))


@rewrites(P(Div)(C(1.0), _ONE_PLUS_EXP_NEG) | P(Reciprocal)(_ONE_PLUS_EXP_NEG), name="recognize-sigmoid", group=GROUP)
def recognize_sigmoid(m: Match, b: Rewriter) -> Result:
    """1/(1 + exp(−x))."""
    if m["x"].shape != m.value.shape:
        return Decline("the constants broadcast the operand", m.root)
    return b.add(Sigmoid(), m["x"])


@rewrites(P(Log)(P(Add)(P(Exp)("x"), C(1.0))), name="recognize-softplus", group=GROUP)
def recognize_softplus(m: Match, b: Rewriter) -> Result:
    """log(1 + exp(x)); the operator does not overflow for large x, the spelling does."""
    if m["x"].shape != m.value.shape or m.value.dtype not in COMPOSITE_TYPES:
        return Decline("the constant broadcasts the operand, or the element type is not one of the operator's", m.root)
    return b.add(Softplus(), m["x"])
