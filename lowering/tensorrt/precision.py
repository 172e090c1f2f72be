"""float32 arithmetic in float16 or bfloat16, by explicit casts: TensorRT takes the element types of a network as they are written.

What half precision does not carry stays in float32, each for a reason of its own: sums and what is computed from nothing else (means,
variances, their differences and roots), the squares that are summed, and constants that the narrow type rounds coarsely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

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
    "ArgMax ArgMin Exp Pow Log LpPool GlobalLpPool LpNormalization "
    "STFT DFT Shape Size NonZero IsInf IsNaN Equal Less LessOrEqual Greater GreaterOrEqual".split()
)
"""Operators that stay in float32: sums, powers and indices that 11 bits of mantissa or a range of 65504 do not carry."""
SUMS = frozenset("ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp ReduceProd".split())
"""Reductions whose results leave the range of float16, or lose what is subtracted from them."""
OF_SUMS = frozenset("Add Sub Mul Div Neg Abs Max Min Clip Sqrt Reciprocal Reshape Squeeze Unsqueeze Identity".split())
"""Operators that stay in float32 between sums: variances are small differences of large numbers."""
SMALL_BYTES = 64
COARSE = 2.0  # unit roundoffs; ordinary numbers are rounded by a third of one in the mean
SENTINEL = 1e9  # constants beyond it stand for infinity
_ROUNDOFF = {DType.FLOAT16: 2.0**-11, DType.BFLOAT16: 2.0**-8}
_LARGEST = {DType.FLOAT16: 65504.0, DType.BFLOAT16: 3.3e38}


def lower_precision(graph: Graph, precision: str, keep: Sequence[str] = (), lacking: Sequence[str] = ()) -> list[Loss]:
    """Compute the float32 nodes of a graph in another type, in place; inputs, outputs and what lies in regions stay as they are.

    Args:
        graph: the graph.
        precision: ``f32`` (nothing happens), ``f16`` or ``bf16``.
        keep: names of nodes, or of operators, that stay in float32.
        lacking: names of operators that the target does not have in that type.

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
    for node in list(graph):
        reason = "as the option keep_f32 says" if {node.name, node.op.op_name} & set(keep) else lowering.reason(node)
        if reason is None and (node.op.op_name in lacking or not lowering.convert(node)):
            reason = "operators without that element type"
        if reason is not None and any(v.dtype is DType.FLOAT for v in node.outputs):
            lowering.kept[reason] += 1
    lowering.sweep()
    unit, kept = "2^-11" if narrow is DType.FLOAT16 else "2^-8", lowering.kept
    why = f" ({', '.join(f'{kept[reason]} {reason}' for reason in sorted(kept))})" if kept else ""
    what = f"{lowering.count} nodes compute in {precision}: a relative rounding error of {unit} each; {kept.total()} stay in float32{why}"
    losses = [Loss("precision", "model", what)]
    if lowering.clipped:
        names = ", ".join(lowering.clipped[:5])
        losses.append(Loss("range", names, f"{len(lowering.clipped)} constants reach beyond {_LARGEST[narrow]:g} and are limited to it"))
    return losses


def _is_summed_square(node: Node) -> bool:
    """Whether a node multiplies a value with itself, for sums only."""
    if node.op.op_name != "Mul" or node.inputs[0] is not node.inputs[1]:
        return False
    return all(isinstance(user, Node) and user.op.op_name in SUMS for user, _ in node.output.uses)


class _Lowering:
    """Converts node after node; every value has at most one narrow form.

    Attributes:
        count: the nodes converted.
        kept: how many nodes stay in float32, by the reason.
        clipped: constants whose numbers were limited.
    """

    def __init__(self, graph: Graph, narrow: DType) -> None:
        self.graph, self.narrow = graph, narrow
        self.forms: dict[Value, Value] = {}
        self.casts: list[Node] = []
        self.count = 0
        self.kept: Counter[str] = Counter()
        self.clipped: list[str] = []
        self._sums: set[Value] = set()
        self._coarse: dict[Value, bool] = {}

    def reason(self, node: Node) -> str | None:
        """Why a node stays in float32, None when it may compute in the narrow type."""
        floats = [v for v in node.inputs if v is not None and v.dtype is DType.FLOAT]
        if node.regions or isinstance(node.op, Opaque):
            return "operators with graphs of their own"
        if not floats or not any(v.dtype is DType.FLOAT for v in node.outputs):
            return "operators that make or convert numbers"
        computed = [v for v in floats if v.data is None]
        if node.op.op_name in SUMS or node.op.op_name in OF_SUMS and computed and all(v in self._sums for v in computed):
            self._sums.update(node.outputs)
            return "sums and what follows from them alone"
        if _is_summed_square(node):
            return "squares that are summed"
        if node.op.op_name in ALWAYS_F32:
            return "powers, exponents and positions"
        if any(self._is_coarse(v) for v in floats if v.data is not None):
            return f"with constants that {self.narrow.short} rounds coarsely"
        return None

    def _is_coarse(self, value: Value) -> bool:
        """Whether the narrow type holds a constant far worse than its unit roundoff says: numbers near its end, or too small for it.

        Of small constants a single number that becomes zero suffices: bounds and epsilons guard a division.
        """
        if value not in self._coarse:
            assert value.data is not None
            array = value.data.numpy()
            array = array[np.isfinite(array) & (np.abs(array) < SENTINEL)]
            rounded = self._limited(array).astype(self.narrow.numpy).astype(np.float32)
            norm, error = (float(np.linalg.norm(part.astype(np.float64))) for part in (array, array - rounded))
            lost = value.data.nbytes <= SMALL_BYTES and bool(((array != 0) & (rounded == 0)).any())
            self._coarse[value] = lost or error > COARSE * _ROUNDOFF[self.narrow] * norm
        return self._coarse[value]

    def _limited(self, array: Any) -> Any:
        limit = _LARGEST[self.narrow]
        return np.clip(array, -limit, limit)

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
            made.origins = old.origins  # comparisons find the rounded value under them
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
            array = value.data.numpy()
            finite = np.isfinite(array)
            if bool((np.abs(array[finite]) > _LARGEST[self.narrow]).any()):
                self.clipped.append(value.name)
                array = np.where(finite, self._limited(array), array)
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
