"""Hypothesis strategies for random valid graphs, with feeds that bind their symbolic dimensions.

`cases` draws operators from a broad table and plants the spellings that recognisers look for, some of them perturbed. Every node is
evaluated as it is added, so that all values are finite and of moderate size, and what does not fit is left out again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Node, Value, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.op import Op
from edgec.ir.types import TensorType
from tests.spellings import Speller

LARGEST = 300.0
MOST_ELEMENTS = 4096
SPECIAL_NUMBERS = (0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 6.0)


class Reject(Exception):
    """What was to be added does not fit, or its values are not well conditioned."""


@dataclass
class Case:
    """A graph and arrays for its inputs."""

    graph: Graph
    feeds: dict[str, Any]


@dataclass
class Builder(Speller):
    """Adds random nodes to a graph and knows the arrays that they compute.

    Attributes:
        random: makes the choices; every step starts with a seed of its own, so that an example shrinks step by step.
        generator: for the contents of arrays.
        dtype: the floating-point type of inputs and constants.
        noisy: whether spellings are perturbed at present.
        infinite: whether infinities are welcome at present.
    """

    graph: Graph
    random: Random
    generator: np.random.Generator
    dtype: DType = DType.FLOAT
    pool: list[Value] = field(default_factory=list)
    arrays: dict[Value, Any] = field(default_factory=dict)
    feeds: dict[str, Any] = field(default_factory=dict)
    noisy: bool = False
    infinite: bool = False

    # -- choices -----------------------------------------------------------------------------------------------------------
    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return self.random.randint(low, high)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of several options."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """True in about so many cases of a hundred."""
        return self.random.random() * 100 < percent

    def array_of(self, value: Value) -> Any:
        """What a value is for the present feeds."""
        if value.data is not None:
            return value.data.numpy()
        return self.arrays[value]

    def shape_of(self, value: Value) -> tuple[int, ...]:
        """The shape for the present feeds."""
        return self.array_of(value).shape

    def pick(self, fits: Callable[[Value, Any], bool] = lambda value, array: True, *, floats: bool = True) -> Value:
        """One of the values so far, the latest first; `Reject` when none fits."""
        found = [v for v in reversed(self.pool) if (not floats or v.dtype is self.dtype) and fits(v, self.arrays[v])]
        if not found:
            raise Reject
        return self.choice(found)

    def tensor(self, *ranks: int) -> Value:
        """A value of the floating-point type with one of some ranks (any rank by default)."""
        return self.pick(lambda value, array: not ranks or array.ndim in ranks)

    # -- constants ---------------------------------------------------------------------------------------------------------
    def numbers(self, shape: Sequence[int], scale: float = 1.0) -> Any:
        """Normally distributed numbers of the floating-point type."""
        return (scale * self.generator.standard_normal(tuple(shape))).astype(self.dtype.numpy)

    def weights(self, *shape: int) -> Value:
        """A constant of moderate numbers."""
        return constant(self.numbers(shape, 0.5), self.graph.fresh_name("w"))

    def positive(self, *shape: int) -> Value:
        """A constant of numbers between ½ and 1½."""
        return constant(self.generator.uniform(0.5, 1.5, shape).astype(self.dtype.numpy), self.graph.fresh_name("p"))

    def broadcastable(self, x: Value) -> Value:
        """A constant that broadcasts with ``x``: often special numbers, seldom of a higher rank than ``x``."""
        shape = [1 if self.chance(40) else d for d in self.shape_of(x)]
        shape = shape[self.integer(0, len(shape)) :] if self.chance(60) else shape
        if self.chance(8):
            shape = [1] * self.integer(1, 2) + [1] * (len(self.shape_of(x)) - len(shape)) + shape
        assert x.dtype is not None
        number = self.choice(SPECIAL_NUMBERS)
        if self.chance(45):
            array = np.full(shape, number)
        elif x.dtype.is_float:
            array = self.generator.standard_normal(shape)
        else:
            array = self.generator.integers(1, 4, shape)
        return constant(array.astype(x.dtype.numpy), self.graph.fresh_name("c"))

    def ints(self, *numbers: int) -> Value:
        return int64s(numbers, self.graph.fresh_name("i"))

    # -- nodes -------------------------------------------------------------------------------------------------------------
    def apply(self, op: Op, *operands: Value | None, outputs: int | None = None, regions: Sequence[Graph] = ()) -> Any:
        """Add a node and its results' arrays; `Reject` when it does not fit."""
        if self.noisy and op.commutative and self.chance(25):
            operands = (operands[1], operands[0], *operands[2:])
        try:
            node = self.graph.insert(op, operands, outputs=outputs, regions=regions)
        except Diagnostic as error:
            raise Reject from error
        try:
            results = self._regions_run(node) if regions else self._evaluated(node)
        except Reject:
            self.graph.remove(node)
            raise
        for value, array in zip(node.outputs, results, strict=False):
            self.arrays[value] = array
            if not self.noisy or self.chance(6):
                self.pool.append(value)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def _evaluated(self, node: Node) -> tuple[Any, ...]:
        arrays = [None if v is None else self.array_of(v) for v in node.inputs]
        try:
            with np.errstate(all="ignore"):
                results = node.op.evaluate(*arrays)
        except (Diagnostic, ValueError, IndexError, ZeroDivisionError) as error:
            raise Reject from error
        results = results if isinstance(results, tuple) else (results,)
        for array in results:
            if array.size > MOST_ELEMENTS or 0 in array.shape and not self.chance(10):
                raise Reject
            if array.dtype.kind == "f" and not self._is_moderate(array):
                raise Reject
            if array.dtype.kind == "i" and array.size and np.abs(array).max() > 1 << 20:
                raise Reject
        return results

    def _is_moderate(self, array: Any) -> bool:
        if np.isnan(array).any() or not self.infinite and np.isinf(array).any():
            return False
        finite = array[np.isfinite(array)]
        return not finite.size or float(np.abs(finite).max()) <= LARGEST

    def _regions_run(self, node: Node) -> tuple[Any, ...]:
        self.graph.set_outputs(node.outputs, [f"o{i}" for i in range(len(node.outputs))])
        try:
            results = tuple(interpret(self.graph, self.feeds).values())
        except Diagnostic as error:
            raise Reject from error
        finally:
            self.graph.set_outputs((), ())
        if any(a.dtype.kind == "f" and not self._is_moderate(a) for a in results):
            raise Reject
        return results

    # -- spellings ---------------------------------------------------------------------------------------------------------
    def number(self, number: float, like: Value) -> Value:
        if self.noisy and self.chance(5):
            number = number * self.choice((1.25, 0.5, -1.0)) + self.choice((0.0, 0.0, 0.1))
        shape = (1,) * self.integer(1, 3) if self.noisy and self.chance(5) else ()
        return constant(np.full(shape, number, like.tensor.dtype.numpy), self.graph.fresh_name("k"))

    def spelled(self, spelling: Callable[[Any, Value], Value], x: Value) -> Value:
        """Add a spelling, one time in three with perturbations; its result joins the pool."""
        length, self.noisy = len(self.pool), self.chance(33)
        try:
            result = spelling(self, x)
        finally:
            self.noisy = False
        if result.producer is not None:
            del self.pool[length + 6 :]
            self.pool.append(result)
        return result

    # -- inputs and outputs ------------------------------------------------------------------------------------------------
    def add_input(self, shape: Sequence[Any], sizes: dict[str, int], dtype: DType | None = None) -> Value:
        """Declare an input; names in the shape are symbols."""
        dtype = dtype or self.dtype
        name = f"x{len(self.graph.inputs)}"
        concrete = tuple(sizes[d] if isinstance(d, str) else d for d in shape)
        if dtype is DType.BOOL:
            array = self.generator.integers(0, 2, concrete).astype(bool)
        elif dtype.is_float:
            array = self.generator.standard_normal(concrete).astype(dtype.numpy)
        else:
            array = self.generator.integers(-3, 4, concrete).astype(dtype.numpy)
        value = self.graph.add_input(name, TensorType(dtype, tuple(symbol(d) if isinstance(d, str) else d for d in shape)))
        self.feeds[name] = self.arrays[value] = np.asarray(array)
        self.pool.append(value)
        return value

    def finish(self) -> Case:
        """Choose outputs: the last value and some others, now and then an input or the same value twice."""
        computed = [v for v in self.pool if v.producer is not None]
        chosen = [computed[-1]] if computed else [self.pool[0]]
        for _ in range(self.integer(0, 3)):
            chosen.append(self.choice(computed if computed and not self.chance(6) else self.pool))
        if not self.chance(5):
            chosen = list(dict.fromkeys(chosen))
        self.graph.set_outputs(chosen, [f"y{i}" for i in range(len(chosen))])
        return Case(self.graph, self.feeds)


SHAPES: tuple[tuple[Any, ...], ...] = (
    (2, 4, 5, 5),
    ("n", 4, 6, 6),
    (1, 3, 8, 8),
    ("n", 4, "m"),
    (2, 3, 8),
    ("n", "m", 8),
    (3, 4),
    ("n", 4),
    ("n", "m"),
    (4,),
    (),
    (1, 2, 4, 8),
)


def static_channels(value: Value, array: Any) -> bool:
    """Whether a value has one or two spatial dimensions and a known number of channels."""
    return array.ndim in (3, 4) and value.shape is not None and isinstance(value.shape[1], int)


@st.composite
def cases(draw: Any, max_steps: int = 10) -> Case:
    """A random graph with feeds; one in three consists mainly of what recognisers look for."""
    from tests.random_operators import PLANTED, STEPS

    seeds = st.integers(0, (1 << 32) - 1)
    random = Random(draw(seeds))
    builder = Builder(Graph(), random, np.random.default_rng(random.randrange(1 << 30)))
    builder.dtype = builder.choice((DType.FLOAT,) * 18 + (DType.DOUBLE, DType.FLOAT16))
    sizes = {"n": builder.integer(1, 4), "m": builder.integer(1, 4)}
    for _ in range(builder.integer(1, 3)):
        builder.add_input(builder.choice(SHAPES), sizes)
    if builder.chance(30):
        builder.add_input(builder.choice(((), (4,), ("n", 4))), sizes, builder.choice((DType.INT64, DType.BOOL, DType.INT32)))
    steps = PLANTED if builder.chance(33) else STEPS
    for seed in draw(st.lists(seeds, min_size=1, max_size=max_steps)):
        builder.random = Random(seed)
        builder.generator = np.random.default_rng(seed)
        before, last = len(builder.pool), builder.graph.last
        try:
            builder.choice(steps)(builder)
        except Reject:
            del builder.pool[before:]
            _remove_after(builder.graph, last)
    builder.random = random
    return builder.finish()


def _remove_after(graph: Graph, last: Node | None) -> None:
    while graph.last is not last and graph.last is not None:
        graph.remove(graph.last)
