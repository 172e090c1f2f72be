"""What translations build with: operands, constants, MIL operators and the binding of results."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.diagnostics import Diagnostic, code
from ....ir.dtypes import DType
from ....ir.graph import Graph, Node, Value
from ..carriers import CARRIERS, carried
from ..versions import Release

E_EMISSION = code(
    "E0531",
    "the emitted MIL program does not fit the model",
    "A translation gave a result of another shape or element type than the model says. This is a defect of edgec: please report the "
    "node that the message names.",
)
_RESERVED = frozenset(
    "any bool program func tensor list dict tuple true false string state bf16 fp16 fp32 fp64 int8 int16 int32 int64 uint8 uint16 uint32 "
    "uint64".split()
)
"""Words of MIL that cannot be names."""
_SMALL_INTEGERS = ("int8", "uint8", "int16", "uint16")


@dataclass
class Cell:
    """A state of the function.

    Attributes:
        state: its variable.
        read: what it held when the function began.
        target: the value of the graph that it has to hold in the end.
        written: whether the operator that writes it is there.
    """

    state: Any
    read: Any
    target: Value
    written: bool = False


class Emission:
    """A MIL function under construction.

    Attributes:
        release: the deployment target.
        mil: the builder; every call names its operator after the node at hand.
        names: the name in the program of each value that has been bound.
        cells: the states, by the input that reads them.
    """

    def __init__(self, release: Release, weights: Any = None) -> None:
        self.release = release
        self.mil = _Builder(self)
        self.names: dict[Value, str] = {}
        self.cells: dict[Value, Cell] = {}
        self._weights = weights
        self._vars: dict[Value, Any] = {}
        self._scopes: list[dict[Value, Any]] = []
        self._widened: dict[Value, Any] = {}
        self._taken: set[str] = set()
        self._stem = "v"

    # -- names --------------------------------------------------------------------------------------------------------------
    def fresh(self, stem: str) -> str:
        """A name that is valid in MIL and not taken."""
        stem = re.sub(r"[^A-Za-z0-9_]", "_", stem) or "v"
        if not re.match(r"[A-Za-z]", stem) or stem in _RESERVED:
            stem = f"v_{stem}"
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name

    # -- operands -----------------------------------------------------------------------------------------------------------
    def var(self, value: Value) -> Any:
        """The MIL variable of a value as it is stored; constants become ``const`` operators on first use in a block."""
        for scope in (*reversed(self._scopes), self._vars):
            if value in scope:
                return scope[value]
        if value.data is None and value.ints is None:
            raise Diagnostic(E_EMISSION, f"'{value.name}' is read before it is computed")
        made = self.const(self.array(value), value.name)
        (self._scopes[-1] if self._scopes else self._vars)[value] = made
        return made

    def operand(self, node: Node, index: int = 0) -> Any:
        """An operand of a node, its integers as int32; None when it is absent."""
        value = node.operand(index)
        return None if value is None else self.wide(value)

    def required(self, node: Node, index: int = 0) -> Value:
        """An operand of the graph that has to be present."""
        value = node.operand(index)
        assert value is not None
        return value

    def wide(self, value: Value) -> Any:
        """The variable of a value, with 8- and 16-bit integers widened to int32."""
        var = self.var(value)
        if self.kind(var) not in _SMALL_INTEGERS:
            return var
        if self._scopes:
            return self.mil.cast(x=var, dtype="int32")
        if value not in self._widened:
            self._widened[value] = self.mil.cast(x=var, dtype="int32")
        return self._widened[value]

    def weight(self, node: Node, index: int) -> Any:
        """An operand that may be a large constant: compressed when the options say so."""
        value = self.required(node, index)
        scope = self._scopes[-1] if self._scopes else self._vars
        if value.data is not None and self._weights is not None and value not in scope:
            made = self._weights(self, value.data.numpy(), value.name)
            if made is not None:
                scope[value] = made
        return self.wide(value)

    def stored(self, array: Any, stem: str) -> Any:
        """A constant of the translation's own making, compressed when the options say so."""
        made = None if self._weights is None else self._weights(self, array, stem)
        return self.const(array, stem) if made is None else made

    def array(self, value: Value) -> Any:
        """The elements of a constant in the carrier of its type."""
        dtype = value.dtype
        assert dtype is not None
        if value.data is not None:
            return carried(value.data.numpy(), dtype, f"value '{value.name}'")
        assert value.ints is not None and value.tensor.static_shape is not None
        array = np.array(value.ints, dtype.numpy).reshape(value.tensor.static_shape)
        return carried(array, dtype, f"value '{value.name}'")

    def known(self, node: Node, index: int) -> Any:
        """The elements of an operand when they are known, else None."""
        value = node.operand(index)
        if value is None or value.data is None and value.ints is None:
            return None
        return self.array(value)

    def const(self, array: Any, stem: str = "") -> Any:
        """A constant variable."""
        return self.mil.const(val=array, stem=stem)

    @staticmethod
    def kind(var: Any) -> str:
        """The element type of a variable: ``fp32``, ``int32``, ``bool`` …"""
        from coremltools.converters.mil.mil import types

        return types.builtin_to_string(var.dtype)

    @staticmethod
    def is_const(var: Any) -> bool:
        """Whether MIL knows the elements."""
        return var.val is not None

    # -- conversions --------------------------------------------------------------------------------------------------------
    def cast(self, var: Any, kind: str) -> Any:
        """A variable in another element type; itself when it has it."""
        return var if self.kind(var) == kind else self.mil.cast(x=var, dtype=kind)

    def like(self, number: float, var: Any) -> Any:
        """A scalar of the element type of a variable."""
        kinds = {"fp32": np.float32, "fp16": np.float16, "int32": np.int32, "bool": np.bool_}
        return kinds[self.kind(var)](number)

    # -- results ------------------------------------------------------------------------------------------------------------
    def enter(self, node: Node) -> None:
        """Name the operators that follow after a node."""
        self._stem = node.name or node.outputs[0].name or node.op.op_name

    def rename(self, stem: str) -> None:
        """Go back to naming operators after something that was entered before."""
        self._stem = stem

    @property
    def stem(self) -> str:
        """What operators without a name of their own are named after."""
        return self._stem

    def bind(self, node: Node, *results: Any) -> None:
        """The variables of a node's results, checked against their types."""
        for value, var in zip(node.outputs, results, strict=False):
            if var is None:
                continue
            self._check(node, value, var)
            self.define(value, var)

    def define(self, value: Value, var: Any) -> None:
        """The variable of one value."""
        (self._scopes[-1] if self._scopes else self._vars)[value] = var
        self.names[value] = var.name

    def _check(self, node: Node, value: Value, var: Any) -> None:
        dtype, kind = value.dtype, self.kind(var)
        if dtype is None or kind != CARRIERS[dtype] and kind != _STORED.get(dtype):
            raise Diagnostic(E_EMISSION, f"'{value.name}' came out as {kind} instead of {dtype}", node.where)
        shape = value.shape
        found = tuple(var.shape)
        if shape is not None and (
            len(found) != len(shape) or any(isinstance(a, int) and _is_int(b) and a != b for a, b in zip(shape, found, strict=True))
        ):
            raise Diagnostic(E_EMISSION, f"'{value.name}' came out as {list(found)} instead of {value.type}", node.where)

    # -- blocks -------------------------------------------------------------------------------------------------------------
    def open_scope(self, bindings: dict[Value, Any]) -> None:
        """Values bound from here on are those of a nested block."""
        self._scopes.append(dict(bindings))

    def close_scope(self) -> None:
        """Forget the values of the innermost block."""
        self._scopes.pop()

    def emit_graph(self, graph: Graph) -> None:
        """Translate all nodes of a graph in order."""
        from .dispatch import emit_node

        for node in graph:
            emit_node(self, node)


_STORED = {DType.INT8: "int8", DType.UINT8: "uint8", DType.INT16: "int16", DType.UINT16: "uint16"}


def _is_int(dim: Any) -> bool:
    return isinstance(dim, int | np.integer)


class _Builder:
    """coremltools' builder, with a name for every operator."""

    def __init__(self, emission: Emission) -> None:
        from coremltools.converters.mil import Builder

        self._builder, self._emission = Builder, emission

    def __getattr__(self, op_type: str) -> Any:
        function = getattr(self._builder, op_type)

        def call(stem: str = "", **operands: Any) -> Any:
            present = {name: value for name, value in operands.items() if value is not None}
            return function(name=self._emission.fresh(stem or self._emission.stem), **present)

        return call


def ints(values: Iterable[Any]) -> Any:
    """A vector of int32."""
    return np.array(list(values), np.int32)
