"""Functions of exporters written in small operators: what the recognisers look for, in many spellings.

Each spelling is a function ``(s, x)`` that adds nodes through a `Speller` and returns the result. Tests of single recognisers use a plain
`Speller`; the random graphs of `tests.strategies` use one that perturbs numbers, exchanges operands and reads intermediate results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant, int64s
from edgec.ir.op import Op
from edgec.ir.ops.activation import Clip, HardSigmoid, Relu, Sigmoid, Softplus
from edgec.ir.ops.binary import Add, Div, Max, Min, Mul, Pow, Sub
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Concat, Split
from edgec.ir.ops.logical import Where
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.normalization import InstanceNormalization
from edgec.ir.ops.reduction import ReduceMax, ReduceMean, ReduceSum
from edgec.ir.ops.reshape import Expand, Reshape, Unsqueeze
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Erf, Exp, IsNaN, Log, Neg, Reciprocal, Sqrt, Tanh


class Speller:
    """Adds nodes to a graph in the words of arithmetic."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def apply(self, op: Op, *operands: Value | None, outputs: int | None = None) -> Any:
        """Add a node; its result, or the tuple of results."""
        return self.graph.add(op, *operands, outputs=outputs)

    def number(self, number: float, like: Value) -> Value:
        """A scalar constant of the element type of ``like``."""
        return constant(number, dtype=like.tensor.dtype)

    def array(self, array: Any, like: Value) -> Value:
        """A constant of the element type of ``like``."""
        return constant(np.asarray(array).astype(like.tensor.dtype.numpy))

    def ints(self, *numbers: int) -> Value:
        """A list of int64, such as axes."""
        return int64s(numbers)

    def _operand(self, operand: Value | float, like: Value) -> Value:
        return operand if isinstance(operand, Value) else self.number(operand, like)

    def _binary(self, op: Op, left: Value | float, right: Value | float) -> Value:
        like = left if isinstance(left, Value) else right
        assert isinstance(like, Value)
        return self.apply(op, self._operand(left, like), self._operand(right, like))

    def add(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Add(), left, right)

    def sub(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Sub(), left, right)

    def mul(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Mul(), left, right)

    def div(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Div(), left, right)

    def pow(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Pow(), left, right)

    def max(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Max(), left, right)

    def min(self, left: Value | float, right: Value | float) -> Value:
        return self._binary(Min(), left, right)

    def clip(self, x: Value, low: float, high: float) -> Value:
        return self.apply(Clip(), x, self.number(low, x), self.number(high, x))

    def mean(self, x: Value, *axes: int) -> Value:
        return self.apply(ReduceMean(), x, self.ints(*axes))


Spelling = Callable[[Speller, Value], Value]
ROOT2 = math.sqrt(2)
CUBIC = 0.044715
FACTOR = math.sqrt(2 / math.pi)


def _one_plus_erf(s: Speller, x: Value) -> Value:
    return s.add(s.apply(Erf(), s.div(x, ROOT2)), 1.0)


def _inner(s: Speller, x: Value, cube: Value | None = None) -> Value:
    cube = s.mul(s.mul(x, x), x) if cube is None else cube
    return s.mul(s.add(x, s.mul(cube, CUBIC)), FACTOR)


def _one_plus_tanh(s: Speller, inner: Value) -> Value:
    return s.add(s.apply(Tanh(), inner), 1.0)


GELU_ERF: dict[str, Spelling] = {
    "x·(1+erf(x/√2))·½": lambda s, x: s.mul(s.mul(x, _one_plus_erf(s, x)), 0.5),
    "½·(x·(1+erf))": lambda s, x: s.mul(0.5, s.mul(x, _one_plus_erf(s, x))),
    "(x·½)·(1+erf)": lambda s, x: s.mul(s.mul(x, 0.5), _one_plus_erf(s, x)),
    "x·(½·(1+erf))": lambda s, x: s.mul(x, s.mul(0.5, _one_plus_erf(s, x))),
    "(x/2)·(1+erf)": lambda s, x: s.mul(s.div(x, 2.0), _one_plus_erf(s, x)),
    "x·(1+erf)/2": lambda s, x: s.div(s.mul(x, _one_plus_erf(s, x)), 2.0),
    "(1+erf)·x·½": lambda s, x: s.mul(s.mul(_one_plus_erf(s, x), x), 0.5),
    "x·Φ, erf(x·0.7071…)": lambda s, x: s.mul(x, s.mul(s.add(1.0, s.apply(Erf(), s.mul(x, math.sqrt(0.5)))), 0.5)),
    "erf(0.7071·x), rounded": lambda s, x: s.mul(s.mul(x, 0.5), s.add(s.apply(Erf(), s.mul(0.7071067, x)), 1.0)),
    "erf(x/1.4142)": lambda s, x: s.mul(s.mul(x, 0.5), s.add(s.apply(Erf(), s.div(x, 1.4142)), 1.0)),
    "erf(−(−x/√2))": lambda s, x: s.mul(s.mul(x, 0.5), s.add(s.apply(Erf(), s.apply(Neg(), s.div(x, -ROOT2))), 1.0)),
}

GELU_TANH: dict[str, Spelling] = {
    "½·x·(1+tanh), Pow 3": lambda s, x: s.mul(s.mul(0.5, x), _one_plus_tanh(s, _inner(s, x, s.pow(x, 3.0)))),
    "½·x·(1+tanh), x·x·x": lambda s, x: s.mul(s.mul(x, 0.5), _one_plus_tanh(s, _inner(s, x))),
    "x·(½·(1+tanh))": lambda s, x: s.mul(x, s.mul(0.5, _one_plus_tanh(s, _inner(s, x)))),
    "x·(1+tanh)/2": lambda s, x: s.div(s.mul(x, _one_plus_tanh(s, _inner(s, x))), 2.0),
    "x·(x·x)": lambda s, x: s.mul(s.mul(x, _one_plus_tanh(s, _inner(s, x, s.mul(x, s.mul(x, x))))), 0.5),
    "x·Pow 2": lambda s, x: s.mul(s.mul(x, 0.5), _one_plus_tanh(s, _inner(s, x, s.mul(x, s.pow(x, 2.0))))),
    "x·(1+0.044715·x²)·√(2/π)": lambda s, x: s.mul(
        s.mul(x, 0.5),
        _one_plus_tanh(s, s.mul(s.mul(x, FACTOR), s.add(1.0, s.mul(s.mul(CUBIC, x), x)))),
    ),
    "√(2/π)·x + 0.0356774·x³": lambda s, x: s.mul(
        s.mul(x, 0.5), _one_plus_tanh(s, s.add(s.mul(x, 0.7978845608), s.mul(s.pow(x, 3.0), 0.0356774081)))
    ),
    "x·(0.0356774·x² + 0.797885)": lambda s, x: s.mul(
        s.mul(0.5, x), _one_plus_tanh(s, s.mul(x, s.add(s.mul(0.035677408, s.mul(x, x)), 0.797884561)))
    ),
    "x·σ(2·√(2/π)(…))": lambda s, x: s.mul(x, s.apply(Sigmoid(), s.mul(_inner(s, x), 2.0))),
    "x·σ(1.59577·x·(1+0.044715·x²))": lambda s, x: s.mul(
        x, s.apply(Sigmoid(), s.mul(s.mul(x, 1.595769122), s.add(1.0, s.mul(s.mul(x, x), CUBIC))))
    ),
}

SILU: dict[str, Spelling] = {
    "x·σ(x)": lambda s, x: s.mul(x, s.apply(Sigmoid(), x)),
    "σ(x)·x": lambda s, x: s.mul(s.apply(Sigmoid(), x), x),
    "x·σ(1.702·x)": lambda s, x: s.mul(x, s.apply(Sigmoid(), s.mul(x, 1.702))),
}

HARD_SWISH: dict[str, Spelling] = {
    "x·clip(x+3, 0, 6)/6": lambda s, x: s.div(s.mul(x, s.clip(s.add(x, 3.0), 0.0, 6.0)), 6.0),
    "x·(clip(x+3, 0, 6)/6)": lambda s, x: s.mul(x, s.div(s.clip(s.add(x, 3.0), 0.0, 6.0), 6.0)),
    "x·HardSigmoid": lambda s, x: s.mul(x, s.apply(HardSigmoid(alpha=1 / 6, beta=0.5), x)),
    "x·min(max(x+3, 0), 6)·⅙": lambda s, x: s.mul(s.mul(s.min(s.max(s.add(3.0, x), 0.0), 6.0), x), 1 / 6),
    "(x/6)·clip(x+3, 0, 6)": lambda s, x: s.mul(s.div(x, 6.0), s.clip(s.add(x, 3.0), 0.0, 6.0)),
    "x·clip(x/6+½, 0, 1)": lambda s, x: s.mul(x, s.clip(s.add(s.div(x, 6.0), 0.5), 0.0, 1.0)),
}

HARD_SIGMOID: dict[str, Spelling] = {
    "clip(x+3, 0, 6)/6": lambda s, x: s.div(s.clip(s.add(x, 3.0), 0.0, 6.0), 6.0),
    "clip(x+3, 0, 6)·⅙": lambda s, x: s.mul(s.clip(s.add(x, 3.0), 0.0, 6.0), 1 / 6),
    "clip(0.2·x+½, 0, 1)": lambda s, x: s.clip(s.add(s.mul(x, 0.2), 0.5), 0.0, 1.0),
    "min(max(x+3, 0), 6)/6": lambda s, x: s.div(s.min(s.max(s.add(x, 3.0), 0.0), 6.0), 6.0),
}

MISH: dict[str, Spelling] = {
    "x·tanh(softplus(x))": lambda s, x: s.mul(x, s.apply(Tanh(), s.apply(Softplus(), x))),
    "tanh(log(1+exp(x)))·x": lambda s, x: s.mul(s.apply(Tanh(), s.apply(Log(), s.add(1.0, s.apply(Exp(), x)))), x),
}

SOFTPLUS: dict[str, Spelling] = {
    "log(1+exp(x))": lambda s, x: s.apply(Log(), s.add(1.0, s.apply(Exp(), x))),
    "log(exp(x)+1)": lambda s, x: s.apply(Log(), s.add(s.apply(Exp(), x), 1.0)),
}

SIGMOID: dict[str, Spelling] = {
    "1/(1+exp(−x))": lambda s, x: s.div(1.0, s.add(1.0, s.apply(Exp(), s.apply(Neg(), x)))),
    "reciprocal(exp(−x)+1)": lambda s, x: s.apply(Reciprocal(), s.add(s.apply(Exp(), s.apply(Neg(), x)), 1.0)),
}


# -- normalisations over the last axis -----------------------------------------------------------------------------------
def _weights(s: Speller, x: Value, seed: int) -> Value:
    size = x.shape[-1] if x.shape else 1
    return s.array(1 + 0.3 * np.random.default_rng(seed).standard_normal(size), x)


def _centred(s: Speller, x: Value) -> Value:
    return s.sub(x, s.mean(x, -1))


def _layer_norm(s: Speller, x: Value, square: Spelling, invert: Callable[[Speller, Value, Value], Value]) -> Value:
    d = _centred(s, x)
    return invert(s, d, s.add(s.mean(square(s, d), -1), 1e-5))


def _by_sqrt(s: Speller, d: Value, v: Value) -> Value:
    return s.div(d, s.apply(Sqrt(), v))


def _by_reciprocal(s: Speller, d: Value, v: Value) -> Value:
    return s.mul(d, s.apply(Reciprocal(), s.apply(Sqrt(), v)))


def _by_one_over(s: Speller, d: Value, v: Value) -> Value:
    return s.mul(s.div(1.0, s.apply(Sqrt(), v)), d)


def _by_power(s: Speller, d: Value, v: Value) -> Value:
    return s.mul(d, s.pow(v, -0.5))


def _by_half_power(s: Speller, d: Value, v: Value) -> Value:
    return s.div(d, s.pow(v, 0.5))


def _pow2(s: Speller, x: Value) -> Value:
    return s.pow(x, 2.0)


def _product(s: Speller, x: Value) -> Value:
    return s.mul(x, x)


def _affine(s: Speller, x: Value, normal: Value) -> Value:
    return s.add(s.mul(normal, _weights(s, x, 1)), _weights(s, x, 2))


def _two_differences(s: Speller, x: Value) -> Value:
    mean = s.mean(x, -1)
    variance = s.mean(s.pow(s.sub(x, mean), 2.0), -1)
    return s.div(s.sub(x, mean), s.apply(Sqrt(), s.add(variance, 1e-5)))


LAYER_NORM: dict[str, Spelling] = {
    "Pow 2, Sqrt, Div": lambda s, x: _layer_norm(s, x, _pow2, _by_sqrt),
    "d·d, Sqrt, Div": lambda s, x: _layer_norm(s, x, _product, _by_sqrt),
    "Reciprocal": lambda s, x: _layer_norm(s, x, _pow2, _by_reciprocal),
    "1/√": lambda s, x: _layer_norm(s, x, _product, _by_one_over),
    "Pow −½": lambda s, x: _layer_norm(s, x, _pow2, _by_power),
    "Div by Pow ½": lambda s, x: _layer_norm(s, x, _product, _by_half_power),
    "two differences": _two_differences,
    "with scale and bias": lambda s, x: _affine(s, x, _layer_norm(s, x, _pow2, _by_sqrt)),
    "scale first": lambda s, x: s.add(_weights(s, x, 2), s.mul(_weights(s, x, 1), _layer_norm(s, x, _product, _by_reciprocal))),
    "scale only": lambda s, x: s.mul(_layer_norm(s, x, _pow2, _by_power), _weights(s, x, 1)),
}


def _rms(s: Speller, x: Value, square: Spelling, invert: Callable[[Speller, Value, Value], Value]) -> Value:
    return invert(s, x, s.add(s.mean(square(s, x), -1), 1e-6))


RMS_NORM: dict[str, Spelling] = {
    "x·1/√": lambda s, x: _rms(s, x, _pow2, _by_one_over),
    "x·Reciprocal": lambda s, x: _rms(s, x, _product, _by_reciprocal),
    "x/√": lambda s, x: _rms(s, x, _product, _by_sqrt),
    "Pow −½": lambda s, x: _rms(s, x, _pow2, _by_power),
    "w·(x/√)": lambda s, x: s.mul(_weights(s, x, 3), _rms(s, x, _pow2, _by_sqrt)),
    "(x·Reciprocal)·w": lambda s, x: s.mul(_rms(s, x, _product, _by_reciprocal), _weights(s, x, 3)),
}


def spatial_norm(s: Speller, x: Value) -> Value:
    """Normalisation over all axes but the first two."""
    axes = range(2, x.rank or 0)
    d = s.sub(x, s.mean(x, *axes))
    return s.div(d, s.apply(Sqrt(), s.add(s.mean(s.mul(d, d), *axes), 1e-5)))


def group_norm(s: Speller, x: Value, groups: int = 2) -> Value:
    """Reshape → InstanceNormalization → Reshape → scale and bias per channel, as PyTorch's exporter writes it."""
    assert x.shape is not None
    channels = x.shape[1]
    split = s.apply(Reshape(), x, s.ints(0, groups, -1))
    norm = s.apply(InstanceNormalization(), split, s.array(np.ones(groups), x), s.array(np.zeros(groups), x))
    back = s.apply(Reshape(), norm, s.ints(*(d if isinstance(d, int) else -1 for d in x.shape)))
    generator = np.random.default_rng(5)
    spread = (channels,) + (1,) * ((x.rank or 0) - 2)
    scale, bias = (s.array(generator.uniform(0.5, 1.5, spread), x) for _ in range(2))
    return s.add(s.mul(back, scale), bias)


SOFTMAX: dict[str, Spelling] = {
    "exp/Σexp": lambda s, x: _softmax(s, s.apply(Exp(), x)),
    "shifted by the maximum": lambda s, x: _softmax(s, s.apply(Exp(), s.sub(x, s.apply(ReduceMax(), x, s.ints(-1))))),
}


def _softmax(s: Speller, exponential: Value) -> Value:
    return s.div(exponential, s.apply(ReduceSum(), exponential, s.ints(-1)))


# -- attention -------------------------------------------------------------------------------------------------------------
def heads_of(s: Speller, x: Value, heads: int) -> Value:
    """``[batch, tokens, heads · size]`` → ``[batch, heads, tokens, size]``."""
    assert x.shape is not None
    size = x.shape[2] // heads
    return s.apply(Transpose(perm=(0, 2, 1, 3)), s.apply(Reshape(), x, s.ints(0, 0, heads, size)))


def merged(s: Speller, x: Value) -> Value:
    """``[batch, heads, tokens, size]`` → ``[batch, tokens, heads · size]``."""
    assert x.shape is not None
    return s.apply(Reshape(), s.apply(Transpose(perm=(0, 2, 1, 3)), x), s.ints(0, 0, x.shape[1] * x.shape[3]))


def repeated(s: Speller, x: Value, times: int) -> Value:
    """Every head ``times`` times in a row."""
    assert x.shape is not None
    batch, heads, tokens, size = x.shape
    wide = s.apply(Expand(), s.apply(Unsqueeze(), x, s.ints(2)), s.ints(1, 1, times, 1, 1))
    return s.apply(Reshape(), wide, s.ints(0, heads * times, -1, size))


def attention(
    s: Speller,
    q: Value,
    k: Value,
    v: Value,
    *,
    mask: Value | None = None,
    scaled: str = "scores/",
    guard: bool = False,
    scale: float | None = None,
) -> Value:
    """softmax(s·q·kᵀ + mask)·v on ``[batch, heads, tokens, size]``.

    Args:
        scaled: where the scale stands: ``scores/``, ``scores*``, ``q*``, ``q/``, ``both`` or ``none``.
        guard: whether rows without a defined result become zeros.
    """
    assert q.shape is not None
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    keys = s.apply(Transpose(perm=(0, 1, 3, 2)), k)
    if scaled == "q*":
        q = s.mul(q, scale)
    elif scaled == "q/":
        q = s.div(q, 1 / scale)
    elif scaled == "both":
        q, keys = s.mul(q, math.sqrt(scale)), s.mul(keys, math.sqrt(scale))
    scores = s.apply(MatMul(), q, keys)
    if scaled == "scores/":
        scores = s.div(scores, 1 / scale)
    elif scaled == "scores*":
        scores = s.mul(scores, scale)
    if mask is not None:
        scores = s.add(scores, mask)
    weights = s.apply(Softmax(axis=-1), scores)
    if guard:
        weights = s.apply(Where(), s.apply(IsNaN(), weights), s.number(0.0, weights), weights)
    return s.apply(MatMul(), weights, v)


def boolean_mask(s: Speller, allowed: Value, like: Value) -> Value:
    """0 where ``allowed``, else −∞."""
    return s.apply(Where(), allowed, s.number(0.0, like), s.number(-math.inf, like))


def rotated(s: Speller, x: Value, cosine: Value, sine: Value, *, by_split: bool = False) -> Value:
    """x·cos + [−x₂, x₁]·sin."""
    assert x.shape is not None
    half = x.shape[-1] // 2
    if by_split:
        first, second = s.apply(Split(axis=-1, num_outputs=2), x, outputs=2)
    else:
        first = s.apply(Slice(), x, s.ints(0), s.ints(half), s.ints(3))
        second = s.apply(Slice(), x, s.ints(half), s.ints(np.iinfo(np.int64).max), s.ints(3))
    turned = s.apply(Concat(axis=-1), s.apply(Neg(), second), first)
    return s.add(s.mul(x, cosine), s.mul(turned, sine))


def rotary_tables(s: Speller, x: Value, seed: int = 0) -> tuple[Value, Value]:
    """Cosines and sines ``[1, 1, tokens, size]`` with equal halves."""
    assert x.shape is not None
    angles = np.random.default_rng(seed).uniform(0, 6, (1, 1, x.shape[2], x.shape[3] // 2))
    double = np.concatenate([angles, angles], -1)
    return s.array(np.cos(double), x), s.array(np.sin(double), x)


def cast_around(spelling: Spelling) -> Spelling:
    """The spelling computed in f32 between two Casts."""

    def cast(s: Speller, x: Value) -> Value:
        wide = spelling(s, s.apply(Cast(to=DType.FLOAT), x))
        return s.apply(Cast(to=x.tensor.dtype), wide)

    return cast


def relu6(s: Speller, x: Value) -> Value:
    """min(relu(x), 6)."""
    return s.min(s.apply(Relu(), x), 6.0)


UNARY_SPELLINGS: Sequence[Spelling] = tuple(
    spelling
    for table in (GELU_ERF, GELU_TANH, SILU, HARD_SWISH, HARD_SIGMOID, MISH, SOFTPLUS, SIGMOID, LAYER_NORM, RMS_NORM, SOFTMAX)
    for spelling in table.values()
)
