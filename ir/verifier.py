"""The verifier: is a graph well formed, and do its stored types agree with inference?"""

from __future__ import annotations

from typing import Any

from .diagnostics import E_GRAPH, Diagnostic
from .dims import Dim, Expr
from .graph import Graph, Node, Value
from .inference import dead_regions
from .types import OptionalType, SequenceType, TensorType, Type, UnknownType


def verify(graph: Graph, *, types: bool = True) -> None:
    """Check a root graph and all graphs of its regions.

    Checked are the linked list of nodes, that operands are defined before their uses (also across regions), that use lists and operands
    agree in both directions, who owns inputs, results and regions, that input names are unique, and, with ``types``, that each stored
    type agrees with what inference says: a stored type may be more precise, and a dimension that inference does not know matches any.

    Raises:
        Diagnostic: the graph is not well formed; the diagnostic prints the node and the producers of its operands.
    """
    _Verifier(types).run(graph)


class _Verifier:
    def __init__(self, types: bool) -> None:
        self.types = types
        self.defined: set[Value] = set()  # values visible at the present point
        self.reads: dict[Value, int] = {}  # how many uses operands and outputs account for
        self.members: set[Node | Graph] = set()

    def run(self, graph: Graph) -> None:
        names: set[str] = set()
        for value in graph.inputs:
            if value.name in names:
                raise Diagnostic(E_GRAPH, f"two inputs have the name '{value.name}'", f"graph '{graph.name}'")
            names.add(value.name)
        visible: list[Value] = []
        self._graph(graph, visible)
        for value, count in self.reads.items():
            if len(value.uses) != count:
                self._stale_use(value)

    def _graph(self, graph: Graph, visible: list[Value]) -> None:
        """Check one graph; ``visible`` collects the values it defines."""
        where = f"graph '{graph.name}'"
        self.members.add(graph)
        defined, reads, members = self.defined, self.reads, self.members
        for index, value in enumerate(graph.inputs):
            if value.graph is not graph or value.index != index or value.producer is not None or value.data is not None:
                raise Diagnostic(E_GRAPH, f"input '{value.name}' does not belong to the graph at position {index}", where)
            defined.add(value)
            visible.append(value)
            reads.setdefault(value, 0)
        previous: Node | None = None
        count = 0
        node = graph.first
        while node is not None:
            if node.graph is not graph:
                raise self._error(node, "the node does not belong to the graph whose list it is in")
            if node.previous is not previous:
                raise self._error(node, "the node's link to its predecessor is wrong")
            if node in members:
                raise self._error(node, "the node is in a list twice")
            members.add(node)
            count += 1
            for index, value in enumerate(node.inputs):
                if value is None:
                    continue
                if value not in defined:
                    self._admit(node, value)
                if (node, index) not in value.uses:
                    raise self._error(node, f"operand {index} '{value.name}' does not list this use")
                reads[value] = reads.get(value, 0) + 1
            if node.regions:
                self._regions(node)
            for index, value in enumerate(node.outputs):
                if value.producer is not node or value.index != index or value.graph is not None:
                    raise self._error(node, f"result {index} '{value.name}' does not name the node as its producer")
                if value in defined:
                    raise self._error(node, f"result {index} '{value.name}' is defined twice")
                defined.add(value)
                visible.append(value)
                reads.setdefault(value, 0)
            if self.types:
                self._check_types(node)
            previous, node = node, node.next
        if graph.last is not previous:
            raise Diagnostic(E_GRAPH, "the link to the last node is wrong", where)
        if graph.count != count:
            raise Diagnostic(E_GRAPH, f"{count} nodes are linked, {graph.count} are counted", where)
        self._outputs(graph, where)

    def _outputs(self, graph: Graph, where: str) -> None:
        if len(graph.output_names) != len(graph.outputs):
            raise Diagnostic(E_GRAPH, f"{len(graph.outputs)} outputs have {len(graph.output_names)} names", where)
        for index, value in enumerate(graph.outputs):
            if value not in self.defined and value.data is None:
                raise Diagnostic(E_GRAPH, f"output '{value.name}' is not a value of the graph or of one around it", where)
            if (graph, index) not in value.uses:
                raise Diagnostic(E_GRAPH, f"output '{value.name}' does not list the graph among its uses", where)
            self.reads[value] = self.reads.get(value, 0) + 1

    def _regions(self, node: Node) -> None:
        types, dead = self.types, dead_regions(node)
        for index, region in enumerate(node.regions):
            if region.parent is not node:
                raise self._error(node, f"region '{region.name}' does not name the node as its parent")
            if region in self.members:
                raise self._error(node, f"region '{region.name}' is used twice")
            self.types = types and index not in dead
            inner: list[Value] = []
            self._graph(region, inner)
            self.defined.difference_update(inner)  # what a region defines is not visible outside
            self.types = types

    def _admit(self, node: Node, value: Value) -> None:
        """An operand that no visible node or input defines: a constant, or an error."""
        if value.data is None:
            if value.producer is not None and value.producer.graph is None:
                problem = "whose producer was removed from its graph"
            elif value.producer is None and value.graph is None:
                problem = "which nothing defines"
            else:
                problem = "before it is defined, or from a region that does not enclose the node"
            raise self._error(node, f"the node reads '{value.name}', {problem}")
        if value.producer is not None or value.graph is not None:
            raise self._error(node, f"constant '{value.name}' has a producer")
        self.defined.add(value)

    def _stale_use(self, value: Value) -> None:
        for user, index in value.uses:
            held = user.inputs if isinstance(user, Node) else user.outputs
            if user not in self.members:
                where = user.where if isinstance(user, Node) else f"graph '{user.name}'"
                raise Diagnostic(E_GRAPH, f"'{value.name}' lists a use by a node or graph that is not part of the graph", where)
            if index >= len(held) or held[index] is not value:
                where = user.where if isinstance(user, Node) else f"graph '{user.name}'"
                raise Diagnostic(E_GRAPH, f"'{value.name}' lists a use at position {index} that does not read it", where)
        raise Diagnostic(E_GRAPH, f"the use list of '{value.name}' disagrees with its users", f"value '{value.name}'")

    def _check_types(self, node: Node) -> None:
        try:
            inferred = node.infer()
        except Diagnostic as error:
            raise self._error(node, f"inference fails: {error.message}") from error
        for value, type_ in zip(node.outputs, inferred, strict=True):
            if type_ != value.type and not admits(value.type, type_):
                raise self._error(node, f"'{value.name}' has the type {value.type}, but inference gives {type_}")

    @staticmethod
    def _error(node: Node, message: str) -> Diagnostic:
        notes = [repr(node)]
        for value in node.inputs:
            if value is not None:
                source = "constant" if value.data is not None else "input" if value.producer is None else repr(value.producer)
                notes.append(f"%{value.name}: {value.type} is {source}")
        return Diagnostic(E_GRAPH, message, node.where, notes=notes)


def admits(stored: Type | Any, inferred: Type | Any) -> bool:
    """Whether a stored type can describe the same value as an inferred one: nothing that both know differs."""
    if isinstance(stored, UnknownType) or isinstance(inferred, UnknownType):
        return True
    if isinstance(stored, TensorType) and isinstance(inferred, TensorType):
        if stored.dtype is not inferred.dtype:
            return False
        if stored.shape is None or inferred.shape is None:
            return True
        if len(stored.shape) != len(inferred.shape):
            return False
        return all(a == b or b is None or a is None or _may_be_equal(a, b) for a, b in zip(stored.shape, inferred.shape, strict=True))
    if type(stored) is type(inferred) and isinstance(stored, SequenceType | OptionalType):
        return admits(stored.element, inferred.element)  # type: ignore[union-attr]
    return False


def _may_be_equal(a: Dim, b: Dim) -> bool:
    """Whether two dimensions can be the same number for some values of their symbols."""
    difference: Any = a - b
    if isinstance(difference, int):
        return difference == 0
    if isinstance(a, Expr) and isinstance(b, Expr) and set(a.symbols()) == set(b.symbols()):
        atoms = (atom for monomial, _ in (*a.terms, *b.terms) for atom, _ in monomial)
        return any(atom.arguments is not None for atom in atoms)  # polynomials of the same symbols differ somewhere
    low, high = difference.bounds({})
    return low <= 0 <= high
