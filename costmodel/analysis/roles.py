"""What nodes are for: parts of attention, feed-forward, normalisation, residual, embedding, head; and the layer they belong to.

Roles follow from the structure of the graph alone, whatever its nodes are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...ir.dims import product
from ...ir.graph import Graph, Node, Value
from ..geometry_parts import is_fixed, is_view
from ..operators import ATTENTIONS, CONVOLUTIONS, NORMALIZATIONS, PRODUCTS, RECURRENT, SOFTMAXES
from ..schedule import label

ATTENTION_PARTS = ("qkv", "qk", "softmax", "av", "out", "attention")
REACH = 24  # nodes between an attention core and its projections
BEFORE, AFTER = "before", "after"
_RESIDUAL_NORMS = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")


@dataclass(frozen=True)
class Role:
    """What a node is for.

    Attributes:
        name: one of `ATTENTION_PARTS` (``attention`` is a fused core), ``ffn``, ``norm``, ``residual``, ``embedding``, ``head``, ``conv``,
            ``linear``, ``recurrent``, ``activation`` or ``other``.
        layer: the number of the transformer layer as text, ``before`` or ``after`` them; empty where there are none.
    """

    name: str
    layer: str = ""

    @property
    def group(self) -> str:
        """The part of a layer: ``attn`` for all parts of attention."""
        return "attn" if self.name in ATTENTION_PARTS else self.name


def find_roles(graph: Graph) -> dict[str, Role]:
    """The role of every node of a graph (control flow included), by its label."""
    finder = _Finder(graph)
    finder.run()
    layers = finder.layers()
    found = {label(node): Role(name, layers.get(node, "")) for node, name in finder.names.items()}
    for node in graph.walk():
        found.setdefault(label(node), Role(_plain(node)))
    return found


def _plain(node: Node) -> str:
    name = node.op.op_name
    if name in CONVOLUTIONS:
        return "conv"
    if name in PRODUCTS or name == "Einsum":
        return "linear"
    if name in RECURRENT:
        return "recurrent"
    if name in NORMALIZATIONS:
        return "norm"
    return "activation" if node.op.elementwise and not is_view(node) else "other"


def _is_product(node: Node) -> bool:
    return node.op.op_name in PRODUCTS or node.op.op_name in CONVOLUTIONS or node.op.op_name == "Einsum"


def _is_projection(node: Node) -> bool:
    """Whether a product has weights."""
    return _is_product(node) and any(v is not None and is_fixed(v) and (v.rank or 0) > 1 for v in node.inputs)


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = list(graph)
        self.position = {node: i for i, node in enumerate(self.nodes)}
        self.names: dict[Node, str] = {}
        self.cores: list[int] = []  # position of the first node of each attention

    def run(self) -> None:
        for node in self.nodes:
            if node.op.op_name in ATTENTIONS:
                self.names[node] = "attention"
                self._surround(node, node.inputs[:3], node.outputs[:1])
            elif node.op.op_name in SOFTMAXES:
                self._spelled(node)
        for node in self.nodes:
            if node not in self.names:
                self.names[node] = self._name(node)
        if self.cores:
            self._head()

    # -- attention ---------------------------------------------------------------------------------------------------
    def _spelled(self, softmax: Node) -> None:
        """Attention out of products and a softmax."""
        before: list[Node] = []
        first = self._back(softmax.operand(0), before)
        after: list[Node] = []
        second = self._forward(softmax.output, after)
        if first is None or second is None or _is_projection(first) or _is_projection(second):
            return
        for node in (*before, softmax, *after):
            self.names[node] = "softmax"
        self.names[first], self.names[second] = "qk", "av"
        other = [v for v in second.inputs[:2] if v is not None and v.producer not in (*after, softmax)]
        self._surround(first, (*first.inputs[:2], *other), second.outputs[:1])

    def _back(self, value: Value | None, path: list[Node]) -> Node | None:
        """The product behind elementwise operators and views."""
        for _ in range(REACH):
            node = None if value is None else value.producer
            if node is None or node not in self.position:
                return None
            if _is_product(node):
                return node
            if not (node.op.elementwise or is_view(node)):
                return None
            path.append(node)
            value = self._data(node)
        return None

    def _data(self, node: Node) -> Value | None:
        """The operand that has the shape of the result, as a mask or a scale has not."""
        shaped = [v for v in node.inputs if v is not None and v.producer is not None and v.dtype == node.output.dtype]
        return next((v for v in shaped if v.shape == node.output.shape), shaped[0] if shaped else None)

    def _forward(self, value: Value, path: list[Node]) -> Node | None:
        for _ in range(REACH):
            user = next((u for u, _ in value.uses if isinstance(u, Node) and u in self.position), None)
            if user is None:
                return None
            if _is_product(user):
                return user
            if user.op.op_name in NORMALIZATIONS or user.op.op_name in ATTENTIONS or self._is_residual(user):
                return None
            path.append(user)
            value = user.outputs[0]
        return None

    def _surround(self, core: Node, operands: tuple[Value | None, ...], results: tuple[Value, ...]) -> None:
        start = self.position[core]
        for operand in operands:
            path: list[Node] = []
            self._projections(operand, path, set(), REACH)
            for node in path:
                self.names.setdefault(node, "qkv")
                start = min(start, self.position[node])
        after: list[Node] = []
        product_ = self._forward(results[0], after)
        if product_ is not None and _is_projection(product_):
            for node in (*after, product_, *self._bias(product_)):
                self.names.setdefault(node, "out")
        self.cores.append(start)

    def _projections(self, value: Value | None, path: list[Node], seen: set[Node], reach: int) -> bool:
        """Collect the nodes between an operand and the products with weights that it comes from."""
        node = None if value is None else value.producer
        if node is None or node not in self.position or reach == 0:
            return False
        if node in seen:
            return node in path
        seen.add(node)
        if _is_projection(node):
            path.append(node)
            return True
        if node.op.op_name in ATTENTIONS or node.op.op_name in SOFTMAXES or self._is_residual(node) or node.regions:
            return False
        found = [self._projections(v, path, seen, reach - 1) for v in node.inputs if v is not None and v.dtype == node.output.dtype]
        if any(found):
            path.append(node)
        return any(found)

    def _bias(self, node: Node) -> Iterator[Node]:
        users = [u for u, _ in node.outputs[0].uses if isinstance(u, Node)]
        if len(users) == 1 and users[0].op.op_name == "Add" and any(v is not None and v.is_constant for v in users[0].inputs):
            yield users[0]

    # -- the rest ----------------------------------------------------------------------------------------------------
    def _is_residual(self, node: Node) -> bool:
        """An addition of two activations of the same shape, one of which was also used on the way to the other."""
        if node.op.op_name != "Add" or len(node.inputs) != 2:
            return False
        left, right = node.inputs
        if left is None or right is None or left.is_constant or right.is_constant or left.shape != right.shape:
            return False
        if left.shape is None or len(left.shape) < 2 or product(left.shape) == 1:
            return False
        return any(len(v.uses) > 1 or v.is_input for v in (left, right)) and not (left.producer is None and right.producer is None)

    def _name(self, node: Node) -> str:
        name = node.op.op_name
        if name in NORMALIZATIONS:
            return "norm"
        if self._is_residual(node):
            return "residual"
        table = node.operand(0)
        if name == "Gather" and table is not None and is_fixed(table) and table.rank == 2 and node.output.rank in (2, 3):
            return "embedding"
        if not self.cores:
            return _plain(node)
        if name in CONVOLUTIONS:
            return "embedding" if self.position[node] < min(self.cores) else "ffn"
        if _is_projection(node):
            return "ffn"
        if node.op.elementwise or is_view(node):
            for value in node.inputs:
                if value is not None and value.producer is not None and self.names.get(value.producer) in ("ffn", "embedding"):
                    return self.names[value.producer]
        return "other"

    def _end(self) -> int:
        """The position of the last residual or, without one, of the last part of attention."""
        residual = [self.position[n] for n, name in self.names.items() if name == "residual" or n.op.op_name in _RESIDUAL_NORMS]
        return max(residual or [self.position[n] for n, name in self.names.items() if name in ATTENTION_PARTS], default=0)

    def _head(self) -> None:
        end = self._end()
        for node, name in self.names.items():
            if self.position[node] > end and name == "ffn":
                self.names[node] = "head"

    def layers(self) -> dict[Node, str]:
        """The layer of every node of a transformer: from a normalisation before one attention to the next."""
        starts = sorted(self._entry(position) for position in self.cores)
        if not starts:
            return {}
        end, last = self._end(), max(self.cores)
        outside = ("norm", "head", "other") if self._entry(last) != last else ("head", "other")  # a norm after each part belongs to it
        found: dict[Node, str] = {}
        for node, position in self.position.items():
            number = sum(1 for start in starts if start <= position)
            tail = position > end and self.names.get(node) in outside
            found[node] = AFTER if tail else str(number - 1) if number else BEFORE
        return found

    def _entry(self, position: int) -> int:
        """The position of the normalisation that feeds the projections at a position, or the position itself."""
        for value in self.nodes[position].inputs:
            producer = None if value is None else value.producer
            if producer is not None and self.names.get(producer) == "norm" and producer.op.op_name not in _RESIDUAL_NORMS:
                before = producer.operand(0)
                source = None if before is None else before.producer
                if source is None or self.names.get(source) != "residual" or len(before.uses if before is not None else ()) > 1:
                    return self.position[producer]
        return position
