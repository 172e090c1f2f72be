"""The structure of an ONNX graph as stored, and models cut out of it.

This works on the protobuf and not on the IR, so that comparing a model with its optimised form does not go
through the reader and the writer that are to be checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..ir.dtypes import DType

CUT_SUFFIX = "@computed"
_RANDOM = frozenset(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"))


class ProtoGraph:
    """Producers and readers of a ModelProto's main graph.

    Attributes:
        model: the model.
        nodes: the nodes of the main graph in file order.
        inputs: names of the inputs that must be fed, in order.
        outputs: names of the outputs, in order.
        producer: index of the node that defines a tensor.
        reads: per node, the tensors it reads, those that its subgraphs capture included.
        constants: initializers by name.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        graph = model.graph
        self.nodes: list[Any] = list(graph.node)
        self.constants: dict[str, Any] = {t.name: t for t in graph.initializer}
        self.sparse: dict[str, Any] = {t.values.name: t for t in graph.sparse_initializer}
        self.inputs = [v.name for v in graph.input if v.name not in self.constants and v.name not in self.sparse]
        self.outputs = [v.name for v in graph.output]
        self.producer: dict[str, int] = {}
        for index, node in enumerate(self.nodes):
            for name in node.output:
                if name:
                    self.producer[name] = index
        self.reads: list[list[str]] = [list(dict.fromkeys((*filter(None, n.input), *captures(n)))) for n in self.nodes]
        self._random_functions = {(f.domain, f.name) for f in model.functions if any(_is_random(n, frozenset()) for n in f.node)}

    def weight_bytes(self) -> int:
        """The size of the constants."""
        return sum(DType.from_code(t.data_type).nbytes(math.prod(t.dims)) for t in self.constants.values())

    def random_node(self, index: int) -> bool:
        """Whether the node, a subgraph of it or a function it calls draws random numbers."""
        return _is_random(self.nodes[index], self._random_functions)

    def random_tensors(self) -> set[str]:
        """The tensors that depend on random numbers."""
        tainted: set[str] = set()
        for index, node in enumerate(self.nodes):
            if self.random_node(index) or any(name in tainted for name in self.reads[index]):
                tainted.update(node.output)
        return tainted

    def variable_tensors(self) -> set[str]:
        """The tensors that depend on an input or on random numbers; all others are the same in every run."""
        found = set(self.inputs)
        for index, node in enumerate(self.nodes):
            if self.random_node(index) or any(name in found for name in self.reads[index]):
                found.update(filter(None, node.output))
        return found

    def segment(self, target: str, cut: set[str]) -> tuple[list[int], list[str]]:
        """The nodes that compute a tensor from tensors in ``cut``, and those of ``cut`` (or inputs) that they
        read.
        """
        nodes, edges = self._reach([target], cut)
        return sorted(nodes), edges

    def _reach(self, targets: Iterable[str], cut: set[str]) -> tuple[set[int], list[str]]:
        found: set[int] = set()
        edges: dict[str, None] = {}
        waiting = [self.producer[name] for name in targets if name in self.producer]
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            for name in self.reads[index]:
                if name in cut or name not in self.producer:
                    if name not in self.constants and name not in self.sparse:
                        edges[name] = None
                else:
                    waiting.append(self.producer[name])
        return found, list(edges)

    def extract(self, targets: Sequence[str], cut_types: Mapping[str, tuple[int, int]] | None = None) -> Any:
        """A model that computes some tensors.

        Args:
            targets: the tensors wanted; in the result those in ``cut_types`` carry `CUT_SUFFIX`.
            cut_types: tensors that are fed instead of computed, with ONNX element type code and rank. Every
                layer then sees the fed value, also where another layer of the result computes the same
                tensor.

        Returns:
            A ModelProto whose inputs are the fed tensors and the original inputs that are still needed.
        """
        import onnx

        cuts = dict(cut_types or {})
        indices, edges = self._reach(targets, set(cuts))
        for name in targets:
            if name not in self.producer and name not in edges:
                edges.append(name)
        result = onnx.ModelProto()
        source = self.model
        result.ir_version = source.ir_version
        result.opset_import.extend(source.opset_import)
        result.functions.extend(source.functions)
        graph = result.graph
        graph.name = source.graph.name or "part"
        needed: set[str] = set()
        for index in sorted(indices):
            node = graph.node.add()
            node.CopyFrom(self.nodes[index])
            needed.update(self.reads[index])
            for position, name in enumerate(node.output):
                if name in cuts:
                    node.output[position] = name + CUT_SUFFIX
        declared = {value.name: value for value in source.graph.input}
        for name in edges:
            if name in cuts:
                graph.input.append(_declare(name, *cuts[name]))
            elif name in declared:
                graph.input.append(declared[name])
        for name, tensor in self.constants.items():
            if name in needed or name in targets:
                graph.initializer.append(tensor)
                if name in declared and source.ir_version < 4:
                    graph.input.append(declared[name])
        graph.sparse_initializer.extend(t for name, t in self.sparse.items() if name in needed)
        for name in targets:
            graph.output.add(name=name + CUT_SUFFIX if name in cuts else name)
        return result


def _declare(name: str, code: int, rank: int) -> Any:
    import onnx

    value = onnx.ValueInfoProto(name=name)
    value.type.tensor_type.elem_type = code
    shape = value.type.tensor_type.shape
    for _ in range(rank):
        shape.dim.add()
    return value


def constant_tensors(graph: Any) -> Iterator[Any]:
    """The initializers and Constant tensors of a graph and of its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.HasField("t") and node.op_type == "Constant":
                yield attribute.t
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from constant_tensors(inner)


def captures(node: Any) -> list[str]:
    """The tensors of enclosing graphs that the subgraphs of a node read."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            known = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            known |= {t.values.name for t in graph.sparse_initializer}
            known |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                for name in (*inner.input, *captures(inner)):
                    if name and name not in known:
                        found[name] = None
            for value in graph.output:
                if value.name not in known:
                    found[value.name] = None
    return list(found)


def _is_random(node: Any, functions: Iterable[tuple[str, str]]) -> bool:
    if node.op_type in _RANDOM and node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in functions:
        return True
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        return True  # training_mode may be true; it is rare enough to treat as random
    return any(
        _is_random(inner, functions)
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
        for inner in graph.node
    )
