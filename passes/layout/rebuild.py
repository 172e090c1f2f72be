"""Carries a layout out: nodes on moved operands, conversions where forms meet."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value, constant
from ...ir.ops.gather import Gather
from ...ir.ops.reshape import Reshape
from ...ir.ops.transpose import Transpose
from ...ir.types import TensorType
from ..mutation import combined_type, remove_dead
from .alternate import Builder
from .axes import reshape_target
from .choice import Layout
from .forms import Form, Shuffle, compose, conversion, inverted, is_identity, keeps_order


class Rebuilder:
    """Rewrites a graph by a `Layout`."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.graph = layout, layout.graph
        self.held: dict[Value, dict[Form, Value]] = {}
        self.made: dict[Value, Form] = {}

    def run(self) -> int:
        """Rebuild the chosen nodes and let the others read what they need.

        Returns:
            How many nodes run on moved operands now.
        """
        nodes = list(self.graph)
        moved = [node for node in nodes if node in self.layout.chosen]
        for node in nodes:
            if isinstance(node.op, Transpose):
                continue
            if node in self.layout.chosen:
                self._rebuild(node)
            else:
                self._connect(node)
        for index, value in enumerate(self.graph.outputs):
            if self._is_foreign(value):
                self.graph.set_output(index, self._written(value, Builder(None, self.graph, ())))
        for node in reversed(nodes):
            if node in self.layout.chosen or isinstance(node.op, Transpose):
                self._retire(node)
        return len(moved)

    def _retire(self, node: Node) -> None:
        if node.graph is not None and not any(value.uses for value in node.outputs):
            remove_dead((node,))

    # -- nodes ---------------------------------------------------------------------------------------------------------------
    def _rebuild(self, node: Node) -> None:
        alternate = self.layout.alternates[node]
        b = Builder(node, self.graph, node.sources, node.name)
        given: list[Value | None] = []
        for value, form in zip(node.inputs, alternate.operands, strict=True):
            given.append(None if value is None else self._written(value, b) if form is None else self._operand(value, form, b))
        results = alternate.build(b, given)
        results = results if isinstance(results, tuple) else (results,)
        for old, new, form in zip(node.outputs, results, alternate.results, strict=True):
            form = form or Form.written(old.rank or 0)
            self._refine(new, old, form)
            self.held[old] = {form: new}
            self.made[old] = form
            if form.is_written:
                new.origins = new.origins + tuple(o for o in old.origins if o not in new.origins)

    def _refine(self, new: Value, old: Value, form: Form) -> None:
        if old.shape is None or old.dtype is None:
            return
        known = combined_type(new.type, TensorType(old.dtype, form.shape(old.shape), old.content if form.is_written else None))
        if known is not None:
            new.type = known

    def _connect(self, node: Node) -> None:
        """Let a node that stays read its operands from where they are now."""
        b = Builder(node, self.graph, node.sources)
        for index, value in enumerate(node.inputs):
            if value is not None and value.data is None and self._is_foreign(value):
                node.set_operand(index, self._written(value, b))
        if node.regions:
            for graph in node.regions:
                self._connect_nested(graph, b)

    def _connect_nested(self, region: object, b: Builder) -> None:
        from ...ir.graph import Graph

        assert isinstance(region, Graph)
        for graph in region.graphs():
            for inner in graph:
                for index, value in enumerate(inner.inputs):
                    if value is not None and self._is_moved(value):
                        inner.set_operand(index, self._written(value, b))
            for index, value in enumerate(graph.outputs):
                if self._is_moved(value):
                    graph.set_output(index, self._written(value, b))

    def _is_moved(self, value: Value) -> bool:
        node = value.producer
        return node is not None and node.graph is self.graph and self._is_foreign(value)

    def _is_foreign(self, value: Value) -> bool:
        """Whether a value is to be taken from another node than the one that gives it in the graph as written."""
        root, _ = self.layout.view(value)
        return root in self.made or value is not root and root in self.layout.preferred

    # -- values --------------------------------------------------------------------------------------------------------------
    def _written(self, value: Value, b: Builder) -> Value:
        if value.data is not None or value.rank is None:
            return value
        return self._operand(value, Form.written(value.rank), b)

    def _operand(self, value: Value, form: Form, b: Builder) -> Value:
        """A value in a form, converted from the form it was made in unless that was done before."""
        if value.data is not None:
            if form.is_written:
                return value
            return constant(form.apply(value.data.numpy()), self.graph.fresh_name("constant"), value.data.dtype)
        root, perm = self.layout.view(value)
        wanted = form.through(perm)
        source = self.made.get(root, Form.written(root.rank or 0))
        held = self.held.setdefault(root, {source: root})
        if wanted not in held:
            held[wanted] = self._converted(held[source], source, wanted, root, b)
            if form.is_written and value is not root:
                held[wanted].origins = value.origins
            elif wanted.is_written:
                held[wanted].origins = root.origins
        return held[wanted]

    def _converted(self, value: Value, source: Form, target: Form, root: Value, b: Builder) -> Value:
        assert root.shape is not None
        plain = Builder(b.anchor, b.graph, root.producer.sources if root.producer is not None else b.sources)
        perm = conversion(source, target)
        if perm is None:
            if source.shuffle is not None:
                value = self._gathered(plain, value, source, inverted(source.shuffle.indices().tolist()))
                source = Form(source.perm)
            if target.shuffle is not None:
                value = self._gathered(plain, value, Form(source.perm, target.shuffle), target.shuffle.indices().tolist())
            perm = compose(inverted(source.perm), target.perm)
        if is_identity(perm):
            return value
        if keeps_order(perm, source.shape(root.shape)):
            sizes = reshape_target(source.shape(root.shape), target.shape(root.shape))
            if sizes is not None:
                value = plain.add(Reshape(), value, plain.ints(sizes))
                self._refine(value, root, target)
                return value
        value = plain.add(Transpose(perm=perm), value)
        self._refine(value, root, target)
        return value

    @staticmethod
    def _gathered(b: Builder, value: Value, form: Form, indices: Sequence[int]) -> Value:
        shuffle = form.shuffle
        assert isinstance(shuffle, Shuffle)
        return b.add(Gather(axis=form.position(shuffle.axis)), value, b.ints(indices))
