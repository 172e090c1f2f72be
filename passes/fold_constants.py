"""Evaluation of what is known at compile time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..ir.data import ArrayData
from ..ir.diagnostics import Diagnostic
from ..ir.graph import Graph, Node, Value, constant_type
from ..ir.op import Op
from ..ir.ops.quantize import (
    DequantizeLinear,
    DynamicQuantizeLinear,
    MsDequantizeLinear,
    MsQuantizeLinear,
    QuantizeLinear,
)
from ..ir.types import TensorType
from .base import Change, Pass
from .context import Context
from .mutation import replace_value

# Folding these would lose what is known about a tensor's quantisation.
KEPT: tuple[type[Op], ...] = (
    QuantizeLinear,
    DequantizeLinear,
    DynamicQuantizeLinear,
    MsQuantizeLinear,
    MsDequantizeLinear,
)
_FAILED = "fold-constants.failed"
_SPARE = "fold-constants.spare"


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace what is known at compile time by constants: nodes whose operands are all constant, and shape arithmetic.

    A result that is larger than ``limit`` bytes (default: the context's ``fold_bytes``) is only folded when the constants that
    disappear with it are at least as large. With ``share``, all such results together may add one part in so many to the constants that
    the graph had: masks of attention windows are worth it beside 100 MB of weights. Quantised constants keep their nodes. A node that
    cannot be evaluated stays, with a note.
    """

    name: ClassVar[str] = "fold-constants"
    idempotent: ClassVar[bool] = True
    limit: int | None = None
    share: int | None = None

    def run(self, graph: Graph, context: Context) -> Change:
        folder = _Folder(context, graph, self.limit, self.share)
        for inner in list(graph.graphs()):
            if inner is graph or (inner.parent is not None and inner.parent.graph is not None):
                folder.fold_known(inner)
                folder.fold_nodes(inner)
        return folder.change


class _Folder:
    def __init__(self, context: Context, graph: Graph, limit: int | None, share: int | None) -> None:
        self.context = context
        self.limit = context.fold_bytes if limit is None else limit
        self.spare = 0
        if share:
            self.spare = context.extras.setdefault(_SPARE, sum(v.data.nbytes for v in graph.constants() if v.data is not None) // share)
        self.change = Change()
        self.failed: dict[Node, None] = context.extras.setdefault(_FAILED, {})

    def fold_known(self, graph: Graph) -> None:
        """Replace results whose elements inference knows; backwards, so that what computed them is gone when its turn comes."""
        node = graph.last
        while node is not None:
            previous = node.previous
            for value in node.outputs:
                if value.uses and _is_known(value.type) and self.context.permit("fold-shape"):
                    self._replace(graph, value, _known_array(value.type))
                    self.change.record("shape")
            unused = not any(value.uses for value in node.outputs)
            if unused and self.change.modified and self.context.permit("dead-code"):
                graph.remove(node)
            node = previous

    def fold_nodes(self, graph: Graph) -> None:
        """Evaluate nodes whose operands are all constant, in order."""
        for node in graph:
            inputs = node.inputs
            foldable = node.op.pure and not node.regions and all(v is None or v.data is not None for v in inputs)
            if not foldable or isinstance(node.op, KEPT) or node in self.failed:
                continue
            dying = _dying_bytes(node)
            allowance = max(self.limit, dying + self.spare)
            if _result_bytes(node) > allowance:
                continue
            results = self._evaluate(node)
            size = None if results is None else sum(_bytes_of(v, r) for v, r in zip(node.outputs, results, strict=True))
            if results is None or size is None or size > allowance:
                continue
            if not self.context.permit("fold-node"):
                return
            for value, result in zip(node.outputs, results, strict=True):
                if value.uses:
                    self._replace(graph, value, result)
            graph.remove(node)
            if size > self.limit and self.spare:
                self.spare = self.context.extras[_SPARE] = self.spare - (size - dying)
            self.change.record("node")

    def _evaluate(self, node: Node) -> Sequence[Any] | None:
        operands = [None if v is None or v.data is None else v.data.numpy() for v in node.inputs]
        if not all(isinstance(v.type, TensorType) for v in node.outputs):
            return None  # sequences and optionals have no constants
        try:
            with np.errstate(all="ignore"):
                result = node.op.evaluate(*operands)
            results = list(result) if isinstance(result, tuple) else [result]
            return [self._checked(v, np.asarray(r)) for v, r in zip(node.outputs, results[: len(node.outputs)], strict=True)]
        except Exception as error:  # whatever goes wrong at compile time must not be worse than at run time
            reason = error.message if isinstance(error, Diagnostic) else f"{type(error).__name__}: {error}"
            self.context.note("fold-constants", f"cannot be evaluated: {reason}", node.where)
            self.failed[node] = None
            return None

    @staticmethod
    def _checked(value: Value, result: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        expected = value.tensor
        if result.dtype != expected.dtype.numpy and result.dtype.kind not in "OUS":
            raise ValueError(f"evaluation gave {result.dtype} instead of {expected.dtype}")
        static = expected.static_shape
        if static is not None and result.shape != static:
            raise ValueError(f"evaluation gave the shape {list(result.shape)} instead of {list(static)}")
        return result if result.flags.c_contiguous or _spans_its_base(result) else result.copy()

    @staticmethod
    def _replace(graph: Graph, value: Value, array: Any) -> None:
        data = ArrayData(array, value.tensor.dtype)
        replacement = Value(value.name, constant_type(data), data=data, origins=value.origins)
        value.name = graph.fresh_name(value.name)  # the constant keeps the name
        replace_value(graph, value, replacement)


def _spans_its_base(view: np.ndarray[Any, Any]) -> bool:
    """Whether a view has as many elements as the array it looks at (a transposed weight): a copy would only take memory."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base is not view and base.size == view.size


def _is_known(type_: Any) -> bool:
    if not isinstance(type_, TensorType) or type_.content is None:
        return False
    return type_.is_static and all(type(c) is int for c in type_.content)


def _known_array(type_: Any) -> Any:
    return np.array(type_.content, dtype=type_.dtype.numpy).reshape(type_.shape)


def _bytes_of(value: Value, array: Any) -> int:
    return value.tensor.dtype.nbytes(array.size)


def _result_bytes(node: Node) -> int:
    """The size of the results as far as inference knows it."""
    total = 0
    for value in node.outputs:
        if isinstance(value.type, TensorType) and value.type.is_static:
            elements = value.type.elements
            assert isinstance(elements, int)
            total += value.type.dtype.nbytes(elements)
    return total


def _dying_bytes(node: Node) -> int:
    """The size of the constants that only this node reads."""
    operands = dict.fromkeys(v for v in node.inputs if v is not None)
    return sum(v.data.nbytes for v in operands if v.data is not None and all(user is node for user, _ in v.uses))
