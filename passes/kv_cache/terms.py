"""Sizes, positions and the places of a buffer that are filled, computed at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...ir.dims import Dim, Expr, substitute
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value
from ...ir.ops.generate import Range
from ...ir.ops.reshape import Shape
from ...ir.types import TensorType
from ..context import Context
from ..decompose.terms import Terms
from ..rewriter import Rewriter


class CacheTerms:
    """Builds what depends on how far the buffers are filled, each thing once, before the first node of the graph.

    Attributes:
        length: the positions of a buffer.
        position: the input with the number of positions filled so far, i64 ``[1]``; None as long as nothing needs it.
    """

    def __init__(self, graph: Graph, context: Context, past: str, alias: Mapping[str, Dim], new: Dim, length: int, name: str) -> None:
        """Prepare for a graph.

        Args:
            graph: the graph.
            context: of the pipeline.
            past: the symbol of the number of earlier positions.
            alias: other symbols that are expressions of it.
            new: the number of new positions.
            length: the positions of a buffer.
            name: of the input with the position.
        """
        assert graph.first is not None
        self.length, self.position = length, None
        self._graph, self._past, self._alias, self._new, self._name = graph, past, dict(alias), new, name
        self._assumed: dict[Dim, Dim] = {}
        self._t = Terms(Rewriter(graph.first, context))
        self._made: dict[object, Value] = {}
        self._places: dict[str, tuple[Value, int]] = {}
        for value in graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                symbol = dim.symbol_name if isinstance(dim, Expr) else None
                if symbol is not None and symbol != past and symbol not in alias:
                    self._places.setdefault(symbol, (value, axis))

    def normal(self, dim: Dim) -> Dim:
        """A dimension in the symbols of the caches."""
        return substitute(self._assumed.get(dim, dim), self._alias)

    def assume(self, dim: Dim, size: Dim) -> None:
        """Take a dimension for a simpler one: a slice of a table that is long enough, for example."""
        self._assumed[dim] = size

    def grows(self, dim: Dim | None) -> bool:
        """Whether a dimension or element depends on the number of earlier positions."""
        if not isinstance(dim, Expr):
            return False
        normal = self.normal(dim)
        return isinstance(normal, Expr) and self._past in normal.symbols()

    def fixed(self, dim: Dim) -> Dim:
        """The same dimension of a graph whose buffers have their full length: earlier and new positions together are that many."""
        return substitute(self.normal(dim), {self._past: self.length - self._new})

    def known(self, dims: Sequence[Dim | None]) -> bool:
        """Whether expressions can be computed from the position and from the sizes of the inputs."""
        return all(d is not None and (not isinstance(d, Expr) or self._computable(self.normal(d))) for d in dims)

    def _computable(self, dim: Dim) -> bool:
        if not isinstance(dim, Expr):
            return True
        atoms = [atom for monomial, _ in dim.terms for atom, _ in monomial]
        return all(a.arguments is None and (a.name == self._past or a.name in self._places) for a in atoms)

    # -- numbers ----------------------------------------------------------------------------------------------------------
    def start(self) -> Value:
        """The number of positions filled so far, i64 ``[1]``: an input of the graph."""
        if self.position is None:
            self.position = self._graph.add_input(self._name, TensorType(DType.INT64, (1,)))
        return self.position

    def vector(self, dims: Sequence[Dim]) -> Value:
        """Expressions as a vector of i64; the number of earlier positions is the position."""
        normal = [self.normal(d) for d in dims]
        key = ("vector", tuple(normal))
        if key not in self._made:
            parts = [d if isinstance(d, int) else self._expression(d) for d in normal]
            self._made[key] = self._t.sizes(parts)
        return self._made[key]

    def values(self, content: Sequence[Dim | None], shape: tuple[int, ...], dtype: DType) -> Value:
        """Elements that inference knows as expressions, computed from the position."""
        dims = [d for d in content if d is not None]
        key = ("values", tuple(self.normal(d) for d in dims), shape, dtype)
        if key not in self._made:
            vector = self.vector(dims)
            self._made[key] = self._t.cast(vector if shape == vector.shape else self._t.reshape(vector, list(shape)), dtype)
        return self._made[key]

    def _expression(self, dim: Dim) -> Value:
        assert isinstance(dim, Expr)
        key = ("dim", dim)
        if key not in self._made:
            total: Value | None = None
            for monomial, coefficient in dim.terms:
                term: Value | None = None
                for atom, power in monomial:
                    for _ in range(power):
                        factor = self._symbol(atom.name)
                        term = factor if term is None else self._t.mul(term, factor)
                if term is None:
                    term = self._t.ints([coefficient])
                elif coefficient != 1:
                    term = self._t.mul(term, self._t.ints([coefficient]))
                total = term if total is None else self._t.add(total, term)
            assert total is not None
            self._made[key] = total
        return self._made[key]

    def _symbol(self, name: str) -> Value:
        if name == self._past:
            return self.start()
        value, axis = self._places[name]
        key = ("size", name)
        if key not in self._made:
            self._made[key] = self._t.apply(Shape(start=axis, end=axis + 1), value)
        return self._made[key]

    # -- places of the buffers --------------------------------------------------------------------------------------------
    def count(self, dim: Dim) -> Value:
        """The numbers from 0 to below a dimension, i64."""
        if isinstance(dim, int):
            return self._t.constant(np.arange(dim, dtype=np.int64))
        return self._t.apply(Range(), self._t.constant(np.int64(0)), self._t.reshape(self.vector([dim]), []), self._t.constant(np.int64(1)))

    def filled(self, behind: int) -> Value:
        """Which places are filled once the new positions are in: bool ``[length, 1, …]`` with so many dimensions behind."""
        key = ("filled", behind)
        if key not in self._made:
            if behind:
                self._made[key] = self._t.reshape(self.filled(0), [self.length] + [1] * behind)
            else:
                end = self._t.add(self.start(), self.vector([self._new]))
                self._made[key] = self._t.less(self.count(self.length), end)
        return self._made[key]

    def window(self, left: int, right: int) -> Value:
        """Which filled places each new position sees, bool ``[new, length]``: at most so many before it and after it, -1 for all."""
        key = ("window", left, right)
        if key not in self._made:
            t = self._t
            places = self.count(self.length)
            own = t.unsqueeze(t.add(self.count(self._new), self.start()), [1])
            seen = self.filled(0)
            if right >= 0:
                seen = t.both(seen, t.at_most(places, t.add(own, right) if right else own))
            if left >= 0:
                seen = t.both(seen, t.at_least(places, t.sub(own, left)))
            self._made[key] = seen
        return self._made[key]

    def indices(self, batch: Dim) -> Value:
        """The position for every element of a batch, i64 ``[batch]``."""
        if batch == 1:
            return self.start()
        key = ("indices", batch)
        if key not in self._made:
            self._made[key] = self._t.expand(self.start(), [self.vector([batch])])
        return self._made[key]


def terms_before(node: Node, context: Context) -> Terms:
    """Formulas that stand before a node."""
    return Terms(Rewriter(node, context))
