"""Making a graph legal: for an opset, and for a target that says which nodes it can take.

A target hands its judgement in as ``context.extras["support"]``: a callable ``(node, opset)`` that gives the reason why the node
cannot run when the model is written at that ai.onnx opset, or None when it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.diagnostics import Diagnostic
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.op import Op
from ..ir.ops.cast import BitCast, Cast, CastLike
from ..ir.ops.control import If, Loop, Scan
from ..ir.ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from ..ir.ops.region import Region
from ..ir.serial.forms import cannot_say
from .base import Change, Pass
from .context import Context
from .decompose.base import Decomposition, decompositions_of
from .mutation import combined_type, propagate_types, remove_dead, same_type

Support = Callable[[Node, int], "str | None"]
SUPPORT = "support"
ILLEGAL = "legalize.illegal"
CHOSEN = "legalize.opset"
DEPTH = 6
ROUNDING = "legalize.rounding"  # the metadata key of conversions of what was computed in a wider type back to the type it had

# What a target without a type computes in instead: every result is representable there, and converting it back gives what the
# narrow type would have given.
WIDER: dict[DType, tuple[DType, ...]] = {
    DType.BFLOAT16: (DType.FLOAT,),
    DType.FLOAT16: (DType.FLOAT,),
    DType.FLOAT8E4M3FN: (DType.FLOAT,),
    DType.FLOAT8E5M2: (DType.FLOAT,),
    DType.FLOAT8E4M3FNUZ: (DType.FLOAT,),
    DType.FLOAT8E5M2FNUZ: (DType.FLOAT,),
    DType.INT2: (DType.INT8, DType.INT32),
    DType.INT4: (DType.INT8, DType.INT32),
    DType.UINT2: (DType.UINT8, DType.INT32),
    DType.UINT4: (DType.UINT8, DType.INT32),
    DType.INT8: (DType.INT32, DType.INT64),
    DType.UINT8: (DType.INT32, DType.UINT32, DType.INT64),
    DType.INT16: (DType.INT32, DType.INT64),
    DType.UINT16: (DType.INT32, DType.UINT32, DType.INT64),
    DType.INT32: (DType.INT64,),
    DType.UINT32: (DType.INT64, DType.UINT64),
}
# Operators whose meaning hangs on the very type of an operand.
TYPED: tuple[type[Op], ...] = (Cast, CastLike, BitCast, QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, If, Loop, Scan, Region)


@dataclass(frozen=True)
class Illegal:
    """A node that stays illegal, and why.

    Attributes:
        node: the node.
        reason: what the opset or the target objects to.
    """

    node: Node
    reason: str


@dataclass(frozen=True)
class Legalize(Pass):
    """Decompose, or compute in another element type, whatever the opset or the target cannot take.

    The opset is ``opset``, or the first of ``opsets`` at which the least has to be changed; without either it is the context's. What
    stays illegal is noted with the reason and left to the target to refuse; ``context.extras["legalize.illegal"]`` lists it.
    """

    name: ClassVar[str] = "legalize"
    idempotent: ClassVar[bool] = True
    opset: int | None = None
    opsets: tuple[int, ...] = ()

    def run(self, graph: Graph, context: Context) -> Change:
        opset = self._choose(graph, context)
        if opset is not None:
            context.extras[CHOSEN] = opset
            context.opsets[""] = opset
        legalizer = Legalizer(context, opset)
        legalizer.run(graph)
        context.extras[ILLEGAL] = legalizer.illegal
        for found in legalizer.illegal:
            context.note(self.name, f"stays as it is: {found.reason}", found.node.where)
        return legalizer.change

    def _choose(self, graph: Graph, context: Context) -> int | None:
        if self.opset is not None or not self.opsets:
            return self.opset if self.opset is not None else context.opsets.get("")
        limit = context.opsets.get("")
        candidates = [o for o in self.opsets if limit is None or o <= limit] or [min(self.opsets)]
        best: tuple[tuple[int, int], int] | None = None
        for opset in candidates:
            cost = Legalizer(context, opset).cost(graph)
            if best is None or cost < best[0]:
                best = (cost, opset)
            if cost == (0, 0):
                break
        assert best is not None
        return best[1]


class Legalizer:
    """Makes the nodes of one graph legal.

    Attributes:
        change: what was done.
        illegal: the nodes that stay illegal.
    """

    def __init__(self, context: Context, opset: int | None) -> None:
        self.context, self.opset = context, opset
        self.support: Support | None = context.extras.get(SUPPORT)
        self.change = Change()
        self.illegal: list[Illegal] = []

    def reason(self, node: Node) -> str | None:
        """Why a node is illegal, None when it is legal."""
        if self.opset is not None and node.op.domain == "":
            found = cannot_say(node, self.opset)
            if found is not None:
                return f"opset {self.opset}: {found}"
        if self.support is not None and not isinstance(node.op, Region):
            return self.support(node, self.opset if self.opset is not None else 0)
        return None

    def cost(self, graph: Graph) -> tuple[int, int]:
        """How many nodes have no cure, and how much work the cures of the others are; the graph stays as it is."""
        hopeless, effort = 0, 0
        for node in list(graph.walk()):
            if self.reason(node) is None:
                continue
            cure = self._cure(node, DEPTH)
            if cure is None:
                hopeless += 1
                continue
            effort += len(cure.created)
            _discard(cure.created)
        return hopeless, effort

    def run(self, graph: Graph) -> None:
        """Cure every illegal node that has a cure."""
        for node in list(graph.walk()):
            if node.graph is None:
                continue
            reason = self.reason(node)
            if reason is None:
                continue
            cure = self._cure(node, DEPTH)
            if cure is None:
                self.illegal.append(Illegal(node, reason))
                continue
            if not self.context.permit(cure.name):
                _discard(cure.created)
                return
            _put_in_place(node, cure)
            self.change.record(cure.name)

    def _cure(self, node: Node, depth: int) -> Cure | None:
        """Legal nodes that compute what ``node`` computes; they stand before it and nothing uses them yet."""
        return self.in_wider_type(node) or (self._by_decomposition(node, depth) if depth else None)

    # -- decompositions ---------------------------------------------------------------------------------------------------
    def _by_decomposition(self, node: Node, depth: int) -> Cure | None:
        for candidate in decompositions_of(type(node.op)):
            if candidate.error is None or self.context.allow_approximate:
                cure = self.taken_apart(node, candidate, depth)
                if cure is not None:
                    return cure
        return None

    def taken_apart(self, node: Node, decomposition: Decomposition, depth: int = DEPTH) -> Cure | None:
        """Legal nodes that one decomposition makes of a node; None when it does not fit, or leaves something that nothing cures."""
        try:
            attempt = decomposition.rule.attempt(node, self.context)
        except Diagnostic:
            return None  # a formula that does not fit these operands
        if attempt.builder is None:
            return None
        attempt.builder.finish()
        created = list(attempt.builder.created)
        present = [value for value in attempt.results if value is not None]
        reader = Graph("results")
        reader.set_outputs(present)  # so that the results count as used, and follow their replacement
        cured = self._cure_all(created, depth)
        known = dict(zip(present, reader.outputs, strict=True))
        reader.set_outputs(())
        if cured:
            return Cure(decomposition.rule.name, created, [None if v is None else known[v] for v in attempt.results])
        _discard(created)
        return None

    def _cure_all(self, created: list[Node], depth: int) -> bool:
        """Cure the illegal ones among new nodes; the list follows the replacements."""
        for node in list(created):
            for inner in [node, *(n for region in node.regions for n in region.walk())]:
                if self.reason(inner) is None:
                    continue
                cure = self._cure(inner, depth - 1)
                if cure is None:
                    return False
                _put_in_place(inner, cure, nested=True)
                if inner is node:
                    created.remove(node)
                    created.extend(cure.created)
        return True

    # -- element types ----------------------------------------------------------------------------------------------------
    def in_wider_type(self, node: Node) -> Cure | None:
        """The node between conversions: some or all operands of one narrow type in a wider one."""
        if isinstance(node.op, TYPED) or node.regions or not node.op.pure:
            return None
        narrow = list(dict.fromkeys(v.dtype for v in node.inputs if v is not None and v.dtype in WIDER))
        for dtype in narrow:
            assert dtype is not None
            for wide in WIDER[dtype]:
                cure = self._computed_in(node, dtype, wide)
                if cure is not None:
                    return cure
        return None

    def _computed_in(self, node: Node, dtype: DType, wide: DType) -> Cure | None:
        graph = node.graph
        assert graph is not None
        created: list[Node] = []

        def insert(op: Op, operands: Sequence[Value | None], outputs: int) -> Node:
            added = graph.insert(op, operands, before=node, outputs=outputs)
            added.sources = node.sources
            created.append(added)
            return added

        operands: list[Value | None] = []
        converted: dict[Value, Value] = {}
        for value in node.inputs:
            if value is not None and value.dtype is dtype:
                if value not in converted:
                    converted[value] = insert(Cast(to=wide), [value], 1).output
                value = converted[value]
            operands.append(value)
        try:
            inner = insert(node.op, operands, len(node.outputs))
            results: list[Value | None] = []
            for old, new in zip(node.outputs, inner.outputs, strict=True):
                if old.dtype is new.dtype or not old.uses:
                    results.append(new if old.uses else None)
                    continue
                if old.dtype is None:
                    raise Diagnostic("", "no tensor")
                back = insert(Cast(to=old.dtype), [new], 1)
                back.metadata[ROUNDING] = wide.short
                results.append(back.output)
        except Diagnostic:
            _discard(created)  # the operator itself does not admit the wide type
            return None
        if any(self.reason(added) is not None for added in created) or all(r is None for r in results):
            _discard(created)
            return None
        return Cure(f"compute-in-{wide.short}", created, results)


@dataclass
class Cure:
    """Legal nodes in front of the node that they can replace; nothing uses them yet.

    Attributes:
        name: of the rule that made them.
        created: the nodes, those that cure what others of them need included.
        results: what stands for the results of the node; None where one stays as it is.
    """

    name: str
    created: list[Node]
    results: list[Value | None]

    def discard(self) -> None:
        """Remove the new nodes."""
        _discard(self.created)

    def apply(self, node: Node) -> None:
        """Let everything that reads the node's results read those of the cure."""
        _put_in_place(node, self)


def _discard(created: list[Node]) -> None:
    """Remove nodes that nothing else uses."""
    pending = list(created)
    while pending:
        left = [n for n in pending if n.graph is not None]
        removable = [n for n in left if not any(v.uses for v in n.outputs)]
        for node in removable:
            if node.graph is not None:
                node.graph.remove(node)
        if not removable:
            return
        pending = [n for n in left if n.graph is not None]


def _put_in_place(node: Node, cure: Cure, nested: bool = False) -> None:
    """Let everything that reads the node's results read those of the cure.

    Args:
        nested: whether this happens within another cure, whose results nothing reads yet.
    """
    graph = node.graph
    assert graph is not None
    created = set(cure.created)
    changed: list[Value] = []
    for new, old in zip(cure.results, node.outputs, strict=False):
        if new is None:
            continue
        known = combined_type(new.type, old.type) if new.producer is not None else None
        if known is not None and not same_type(known, new.type):
            new.type = known
            changed.append(new)
        elif not same_type(new.type, old.type):
            changed.append(new)
        graph.replace(old, new)
        if new.producer in created:
            new.name, old.name = old.name, new.name
    if changed:
        propagate_types(changed)
    if nested:
        if not any(value.uses for value in node.outputs):
            graph.remove(node)
    else:
        remove_dead((node, *cure.created))
