"""The pass that gives key-value caches a fixed length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.diagnostics import Diagnostic, code
from ...ir.dims import Dim, Expr, symbol
from ...ir.graph import Graph, Node, Value
from ...ir.op import Opaque
from ...ir.ops.concat import Concat
from ...ir.ops.microsoft_grouped import GroupQueryAttention
from ...ir.ops.scatter import TensorScatter
from ...ir.types import TensorType, name_unknown_dims
from ..base import Change, Pass
from ..context import Context
from ..mutation import remove_dead
from . import attention as _attention  # noqa: F401  (registers its rules)
from . import rules as _rules  # noqa: F401  (registers its rules)
from .lanes import Lanes, Obstacle
from .pairs import Pair, find_pairs
from .terms import CacheTerms

E_CACHE = code(
    "E0411",
    "the key-value cache cannot be given a fixed length",
    "fix-kv-cache replaces caches that grow (inputs with earlier keys and values, outputs with these and the new ones) by buffers. It does "
    "so only where it can prove that every other tensor that grows with them keeps its meaning; the message names what is in the way.",
)


@dataclass(frozen=True)
class FixKvCache(Pass):
    """Make key-value caches that grow buffers of a fixed length, with an input that says how far they are filled.

    For ``position`` filled places and ``sequence`` new tokens the graph computes what the original computes with caches of ``position``
    entries, as long as ``position + sequence`` is at most ``length``. Buffers have to hold finite numbers; zeros to begin with. Masks of
    all positions get ``length`` columns, of which those that are not filled do not count.

    Options:
        length: positions of a buffer.
        position: name of the new input, i64 ``[1]``.
        mask: inputs besides the caches whose last axis has all positions, separated by blanks; found by themselves when empty.
    """

    name: ClassVar[str] = "fix-kv-cache"
    keeps_interface: ClassVar[bool] = False
    length: int = 1024
    position: str = "position"
    mask: str = ""

    def run(self, graph: Graph, context: Context) -> Change:
        pairs = find_pairs(graph)
        if not pairs:
            if any(isinstance(node.op, TensorScatter) and node.inputs[0] in graph.inputs for node in graph):
                return Change()  # it has buffers already
            raise Diagnostic(E_CACHE, "no output is an input with something appended to it", hint="export the model with its cache")
        if self.length < 1 or any(value.name == self.position for value in graph.inputs):
            raise Diagnostic(E_CACHE, f"length={self.length} with an input '{self.position}' is not possible")
        try:
            lanes = self._proof(graph, pairs, context)
        except Obstacle as obstacle:
            raise Diagnostic(E_CACHE, obstacle.reason, obstacle.where) from None
        if not context.permit(self.name):
            return Change()
        self._apply(graph, lanes)
        return Change.of("cache", len(pairs))

    def _proof(self, graph: Graph, pairs: list[Pair], context: Context) -> Lanes:
        """What is to be done, once it is proven that it can be."""
        symbols = list(dict.fromkeys(pair.symbol for pair in pairs))
        sizes = list(dict.fromkeys(_new_positions(pair) for pair in pairs))
        if len(symbols) > 1 or len(sizes) > 1 or sizes[0] is None:
            raise Obstacle("the caches do not all have the same length before and after")
        new = sizes[0]
        if isinstance(new, int) and new > self.length:
            raise Obstacle(f"{new} new positions do not fit into a buffer of {self.length}")
        own = [pair.total.symbol_name for pair in pairs if isinstance(pair.total, Expr)]
        names = [name for name in own if name is not None] + self._mask_symbols(graph, pairs)
        if isinstance(new, Expr) and any(name in names for name in new.symbols()):
            new = _tokens(graph, pairs, [symbols[0], *names])  # inference says it by the size of the mask
        total = new + symbol(symbols[0])
        terms = CacheTerms(graph, context, symbols[0], dict.fromkeys(names, total), new, self.length, self.position)
        lanes = Lanes(graph, context, terms, pairs)
        lanes.prove()
        return lanes

    def _mask_symbols(self, graph: Graph, pairs: list[Pair]) -> list[str]:
        """Symbols of their own with which masks say how many positions there are."""
        named = self.mask.split()
        caches = {pair.past for pair in pairs}
        others = [v for v in graph.inputs if v not in caches and v.shape]
        uses: dict[str, list[Value]] = {}
        for value in others:
            for name in dict.fromkeys(name for d in value.shape or () if isinstance(d, Expr) for name in d.symbols()):
                uses.setdefault(name, []).append(value)
        taken = {name for v in caches for d in v.shape or () if isinstance(d, Expr) for name in d.symbols()}
        found = []
        for value in others:
            assert value.shape is not None
            last = value.shape[-1]
            name = last.symbol_name if isinstance(last, Expr) else None
            if name is None or name in taken:
                continue
            chosen = value.name in named if named else all("mask" in v.name.lower() for v in uses[name])
            if chosen and name not in found:
                found.append(name)
        return found

    def _apply(self, graph: Graph, lanes: Lanes) -> None:
        changed: set[Value] = set()
        present = set(graph.values())
        for value, lane in lanes.lanes.items():
            if value.is_input:
                shape = value.tensor.shape
                assert shape is not None
                value.type = TensorType(value.tensor.dtype, (*shape[: lane.axis], self.length, *shape[lane.axis + 1 :]))
                changed.add(value)
        for node in list(graph):
            for action in lanes.edits.get(node, ()):
                action(node)
            given = [value for value in node.inputs if value is not None and value.data is None]
            if node in lanes.edits or any(value in changed or value not in present for value in given):
                changed.update(_inferred(node))
        remove_dead([node for node in graph if not any(v.uses for v in node.outputs)])


def _new_positions(pair: Pair) -> Dim | None:
    """How many positions are appended."""
    node = pair.node
    if isinstance(node.op, Concat):
        new = node.inputs[1]
        return None if new is None or new.shape is None else new.shape[node.op.axis]
    new = node.inputs[0] if isinstance(node.op, GroupQueryAttention) else node.inputs[1]
    return None if new is None or new.shape is None else new.shape[2 if new.rank == 4 else 1]


def _tokens(graph: Graph, pairs: list[Pair], taken: list[str]) -> Dim:
    """The number of new tokens as the inputs that hold them say it."""
    caches = {pair.past for pair in pairs}
    last = [v.shape[-1] for v in graph.inputs if v not in caches and v.shape]
    names = {name: d for d in last if isinstance(d, Expr) and (name := d.symbol_name) is not None and name not in taken}
    if len(names) != 1:
        raise Obstacle("the number of new tokens is not the last dimension of an input")
    return next(iter(names.values()))


def _inferred(node: Node) -> list[Value]:
    """Infer the result types anew, those of before are of tensors that grow; gives the results whose type is another one now."""
    if node.graph is None or node.regions or isinstance(node.op, Opaque):
        return []
    changed = []
    for value, type_ in zip(node.outputs, node.infer(), strict=True):
        before, value.type = value.type, name_unknown_dims(type_, value.name)
        known = [t.content if isinstance(t, TensorType) else None for t in (before, value.type)]
        if value.type != before or known[0] != known[1]:
            changed.append(value)
    return changed
