"""float32 arithmetic in float16 or bfloat16, by explicit casts: TensorRT takes the element types of a network as they are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.data import ArrayData
from ...ir.diagnostics import Diagnostic, did_you_mean
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value, constant_type
from ...ir.op import Opaque
from ...ir.ops.cast import Cast
from ...ir.types import TensorType, name_unknown_dims
from ..artifact import Loss
from ..backend import E_OPTION

PRECISIONS = {"f32": DType.FLOAT, "f16": DType.FLOAT16, "bf16": DType.BFLOAT16}
ALWAYS_F32 = frozenset(
    "Cast CastLike BitCast QuantizeLinear DequantizeLinear Range CumSum CumProd Resize NonMaxSuppression RoiAlign GridSample TopK "
    "ArgMax ArgMin ReduceSumSquare ReduceL2 ReduceLogSum ReduceLogSumExp ReduceProd Exp Pow Log "
    "STFT DFT Shape Size NonZero IsInf IsNaN Equal Less LessOrEqual Greater GreaterOrEqual".split()
)
"""Operators that stay in float32: sums, powers and indices that 11 bits of mantissa or a range of 65504 do not carry."""
SMALL_BYTES = 64
_LARGEST = {DType.FLOAT16: 65504.0, DType.BFLOAT16: 3.3e38}


def lower_precision(graph: Graph, precision: str, keep: Sequence[str] = ()) -> list[Loss]:
    """Compute the float32 nodes of a graph in another type, in place; inputs, outputs and what lies in regions stay as they are.

    Args:
        graph: the graph.
        precision: ``f32`` (nothing happens), ``f16`` or ``bf16``.
        keep: names of nodes, or of operators, that stay in float32.

    Raises:
        Diagnostic: E0506 when a name in ``keep`` is neither.
    """
    known = {name for node in graph.walk() for name in (node.name, node.op.op_name)}
    for name in keep:
        if name not in known:
            hint = did_you_mean(name, sorted(known))
            raise Diagnostic(E_OPTION, f"keep_f32 names '{name}', which is neither a node nor an operator of the model", hint=hint)
    narrow = PRECISIONS[precision]
    if narrow is DType.FLOAT:
        return []
    lowering = _Lowering(graph, narrow)
    kept = []
    for node in list(graph):
        if {node.name, node.op.op_name} & set(keep) or not lowering.admits(node):
            if any(v.dtype is DType.FLOAT for v in node.outputs):
                kept.append(node.name or node.outputs[0].name)
            continue
        if not lowering.convert(node):
            kept.append(node.name or node.outputs[0].name)
    lowering.sweep()
    unit = "2^-11" if narrow is DType.FLOAT16 else "2^-8"
    what = f"{lowering.count} nodes compute in {precision}: a relative rounding error of {unit} each; {len(kept)} stay in float32"
    losses = [Loss("precision", "model", what)]
    if lowering.clipped:
        names = ", ".join(lowering.clipped[:5])
        losses.append(Loss("range", names, f"{len(lowering.clipped)} constants reach beyond {_LARGEST[narrow]:g} and are limited to it"))
    return losses


class _Lowering:
    """Converts node after node; every value has at most one narrow form.

    Attributes:
        count: the nodes converted.
        clipped: constants whose numbers were limited.
    """

    def __init__(self, graph: Graph, narrow: DType) -> None:
        self.graph, self.narrow = graph, narrow
        self.forms: dict[Value, Value] = {}
        self.casts: list[Node] = []
        self.count = 0
        self.clipped: list[str] = []

    def admits(self, node: Node) -> bool:
        """Whether a node is one that may compute in the narrow type."""
        if node.regions or isinstance(node.op, Opaque) or node.op.op_name in ALWAYS_F32:
            return False
        if any(v is not None and self._vanishes(v) for v in node.inputs):
            return False
        return any(v is not None and v.dtype is DType.FLOAT for v in node.inputs) and any(v.dtype is DType.FLOAT for v in node.outputs)

    def _vanishes(self, value: Value) -> bool:
        """Whether a small constant holds numbers that the narrow type rounds to zero: bounds and epsilons that guard a division."""
        if value.data is None or value.dtype is not DType.FLOAT or value.data.nbytes > SMALL_BYTES:
            return False
        array = value.data.numpy()
        return bool(((array != 0) & (array.astype(self.narrow.numpy) == 0)).any())

    def convert(self, node: Node) -> bool:
        """Replace a node by one on narrow operands, and a cast back for what reads the wide result; False when that has no type."""
        operands = [self._narrow(v, node) if v is not None and v.dtype is DType.FLOAT else v for v in node.inputs]
        try:
            new = self.graph.insert(node.op, operands, before=node, outputs=len(node.outputs), name=node.name)
        except Diagnostic:
            return False
        new.sources, new.metadata = node.sources, dict(node.metadata)
        for old, made in zip(node.outputs, new.outputs, strict=True):
            if isinstance(old.type, TensorType) and isinstance(made.type, TensorType):
                made.type = name_unknown_dims(TensorType(made.type.dtype, old.type.shape), made.name)
            if old.dtype is made.dtype:
                self.graph.replace(old, made)
                made.name, old.name = old.name, made.name
                continue
            back = self.graph.insert(Cast(to=DType.FLOAT), [made], before=node)
            self.casts.append(back)
            self.graph.replace(old, back.output)
            back.output.name, old.name = old.name, back.output.name
            self.forms[back.output] = made
        self.graph.remove(node)
        self.count += 1
        return True

    def _narrow(self, value: Value, before: Node) -> Value:
        found = self.forms.get(value)
        if found is not None:
            return found
        if value.data is not None:
            array, limit = value.data.numpy(), _LARGEST[self.narrow]
            finite = np.isfinite(array)
            if bool((np.abs(array[finite]) > limit).any()):
                self.clipped.append(value.name)
                array = np.where(finite, np.clip(array, -limit, limit), array)
            data = ArrayData(array.astype(self.narrow.numpy))
            found = Value(self.graph.fresh_name(value.name), constant_type(data), data=data)
        else:
            cast = self.graph.insert(Cast(to=self.narrow), [value], before=self._after(value, before))
            self.casts.append(cast)
            found = cast.output
        self.forms[value] = found
        return found

    def _after(self, value: Value, before: Node) -> Node:
        """Where a cast of a value has to stand so that all later nodes can read it."""
        if value.producer is None:
            first = self.graph.first
            return first if first is not None else before
        following = value.producer.next
        return following if following is not None else before

    def sweep(self) -> None:
        """Remove the casts that nothing reads."""
        for cast in reversed(self.casts):
            if cast.graph is not None and not cast.output.uses:
                cast.graph.remove(cast)
