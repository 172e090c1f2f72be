"""Which nodes of a graph run on moved operands: the preferred forms, spread from the spatial operators, and the least cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...ir.graph import Graph, Node, Value
from ...ir.ops.channels_last import ChannelsLastOp
from ...ir.ops.transpose import Transpose
from .agnostic import bytes_of
from .alternate import Alternate, Port, propose
from .forms import Form, Perm, compose, is_free
from .mincut import INFINITE, SINK, SOURCE, Network

FREE = 1
"""What a conversion costs that moves no element: it is an operator all the same."""


@dataclass(frozen=True)
class Need:
    """A form of a root value that a node reads.

    Attributes:
        node: the reader; None for graph outputs and nested graphs.
        written: the form it needs as it is written.
        moved: the form that its alternate needs.
    """

    node: Node | None
    written: Form
    moved: Form


@dataclass
class Layout:
    """What is known about a graph and what was chosen.

    Attributes:
        alternates: how nodes would run on moved operands.
        chosen: the nodes that do.
        preferred: the form of values that spatial operators ask for or give.
    """

    graph: Graph
    alternates: dict[Node, Alternate] = field(default_factory=dict)
    chosen: set[Node] = field(default_factory=set)
    preferred: dict[Value, Form] = field(default_factory=dict)
    _views: dict[Value, tuple[Value, Perm]] = field(default_factory=dict)

    # -- views ---------------------------------------------------------------------------------------------------------------
    def view(self, value: Value) -> tuple[Value, Perm]:
        """The value that Transposes of this graph were applied to, and their combined permutation."""
        found = self._views.get(value)
        if found is None:
            node, rank = value.producer, value.rank
            found = value, tuple(range(rank or 0))
            if node is not None and node.graph is self.graph and isinstance(node.op, Transpose) and rank is not None:
                source = node.inputs[0]
                assert source is not None
                perm = tuple(node.op.perm) if node.op.perm is not None else tuple(reversed(range(rank)))
                root, first = self.view(source)
                found = root, compose(first, perm)
            self._views[value] = found
        return found

    def readers(self, root: Value) -> Iterator[tuple[Node | None, int, Perm]]:
        """Who reads a root value, at which operand, through which permutation; None for graph outputs and nested graphs."""
        stack = [(root, tuple(range(root.rank or 0)))]
        while stack:
            value, perm = stack.pop()
            for user, index in value.uses:
                if not isinstance(user, Node) or user.graph is not self.graph:
                    yield None, index, perm
                elif isinstance(user.op, Transpose) and user.output.rank is not None:
                    stack.append((user.output, self.view(user.output)[1]))
                else:
                    yield user, index, perm

    # -- spreading -----------------------------------------------------------------------------------------------------------
    def spread(self) -> None:
        """Let the spatial operators ask for forms, and agnostic ones pass the wish on."""
        queue: deque[Value] = deque()
        for node in self.graph:
            if isinstance(node.op, ChannelsLastOp) and node.output.rank is not None:
                self._prefer(node.output, Form.written(node.output.rank), queue)
                source = node.inputs[0]
                assert source is not None
                if source.rank is not None:
                    self._prefer(source, Form.written(source.rank), queue)
        settled: set[Node] = set()
        deferred: deque[tuple[Node, Port]] = deque()  # what would shuffle an axis: only where nothing else is asked for
        while queue or deferred:
            if not queue:
                node, port = deferred.popleft()
                self._ask(node, port, settled, queue)
                continue
            value = queue.popleft()
            form = self.preferred[value]
            producer = value.producer
            if producer is not None and producer.graph is self.graph:
                self._ask(producer, Port(value.index, True, form), settled, queue, deferred)
            for user, index, perm in self.readers(value):
                if user is not None:
                    self._ask(user, Port(index, False, form.behind(perm)), settled, queue, deferred)

    def _prefer(self, value: Value, form: Form, queue: deque[Value]) -> None:
        root, perm = self.view(value)
        if root.data is None and root not in self.preferred:
            self.preferred[root] = form.through(perm)
            queue.append(root)

    def _ask(
        self, node: Node, port: Port, settled: set[Node], queue: deque[Value], deferred: deque[tuple[Node, Port]] | None = None
    ) -> None:
        if node in settled or isinstance(node.op, ChannelsLastOp | Transpose):
            return
        alternate = propose(node, port)
        if alternate is None:
            return
        if deferred is not None and any(f is not None and f.shuffle is not None for f in (*alternate.operands, *alternate.results)):
            deferred.append((node, port))
            return
        settled.add(node)
        if not port.form.is_written:
            self.alternates[node] = alternate
        for value, form in (*zip(node.inputs, alternate.operands, strict=True), *zip(node.outputs, alternate.results, strict=True)):
            if value is not None and form is not None and value.data is None:
                self._prefer(value, form, queue)

    # -- choosing ------------------------------------------------------------------------------------------------------------
    def choose(self) -> None:
        """Find the set of nodes to run on moved operands for which the fewest bytes are transposed."""
        network = Network()
        vertices = {node: network.vertex() for node in self.alternates}
        for node, alternate in self.alternates.items():
            if alternate.gain > 0:
                network.edge(vertices[node], SINK, alternate.gain)
            else:
                network.edge(SOURCE, vertices[node], -alternate.gain)
        for root in self._roots():
            _Costs(self, network, vertices, root).add()
        labels = network.solve()
        self.chosen = {node for node, vertex in vertices.items() if labels[vertex]}

    def _roots(self) -> list[Value]:
        """The values around nodes that could move."""
        found: dict[Value, None] = {}
        for node in self.alternates:
            for value in (*node.inputs, *node.outputs):
                if value is not None and value.data is None and value.shape is not None:
                    found[self.view(value)[0]] = None
        return list(found)

    def produced(self, root: Value) -> tuple[Form, Form]:
        """The forms that the producer gives when it runs as written, and moved."""
        written = Form.written(root.rank or 0)
        alternate = self.alternates.get(root.producer) if root.producer is not None else None
        moved = alternate.results[root.index] if alternate is not None else None
        return written, moved or written

    def needs(self, root: Value) -> list[Need]:
        """What the readers of a root value need."""
        found = []
        for user, index, perm in self.readers(root):
            written = moved = Form.written(len(perm)).through(perm)
            alternate = self.alternates.get(user) if user is not None else None
            if alternate is not None:
                form = alternate.operands[index]
                moved = form.through(perm) if form is not None else written
            found.append(Need(user, written, moved))
        return found


@dataclass
class _Costs:
    """Enters into a network what the conversions of one value cost; each form is made once for all its readers."""

    layout: Layout
    network: Network
    vertices: dict[Node, int]
    root: Value

    def add(self) -> None:
        produced = self.layout.produced(self.root)
        producer = self.vertices.get(self.root.producer, SOURCE) if self.root.producer is not None else SOURCE
        needs = self.layout.needs(self.root)
        forms = dict.fromkeys(form for need in needs for form in (need.written, need.moved))
        for form in forms:
            always, by_written, by_moved = False, [], []
            for need in needs:
                if need.node not in self.vertices or need.written == need.moved:
                    always = always or need.written == form
                elif need.written == form:
                    by_written.append(self.vertices[need.node])
                elif need.moved == form:
                    by_moved.append(self.vertices[need.node])
            costs = tuple(self._cost(source, form) for source in produced)
            self._enter(producer, costs, always, by_written, by_moved)

    def _cost(self, source: Form, target: Form) -> int:
        if source == target:
            return 0
        assert self.root.shape is not None
        return FREE if is_free(source, target, self.root.shape) else bytes_of(self.root)

    def _enter(self, producer: int, costs: tuple[int, ...], always: bool, by_written: list[int], by_moved: list[int]) -> None:
        """Cost of one form: ``costs[label of the producer]`` when a reader needs it."""
        network = self.network
        common = min(costs)
        extra = costs[0] - common, costs[1] - common
        if always:
            network.edge(producer, SINK, extra[0])
            network.edge(SOURCE, producer, extra[1])
            return
        if by_moved:
            wanted = network.vertex()  # labelled 1 as soon as one of the readers is
            for reader in by_moved:
                network.edge(wanted, reader, INFINITE)
            network.edge(SOURCE, wanted, common)
            network.edge(producer, wanted, extra[0])
            if extra[1]:  # producer and reader both moved, in different forms: no cut says so exactly
                network.edge(SOURCE, wanted, extra[1] // 2)
                network.edge(SOURCE, producer, extra[1] // 2)
        if by_written:
            wanted = network.vertex()  # labelled 0 as soon as one of the readers is
            for reader in by_written:
                network.edge(reader, wanted, INFINITE)
            network.edge(wanted, SINK, common)
            network.edge(wanted, producer, extra[1])
            if extra[0]:
                network.edge(wanted, SINK, extra[0] // 2)
                network.edge(producer, SINK, extra[0] // 2)
