"""GraphProto → `Graph`: scopes, names, order, operators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .. import ops as _registered  # noqa: F401  (registers the operator classes)
from ..diagnostics import E_ATTRIBUTE, E_OPERANDS, Diagnostic, did_you_mean
from ..graph import Graph, Value, constant
from ..inference import infer_node
from ..op import OPS, Op, Opaque
from ..types import UNKNOWN, TensorType, Type, name_unknown_dims, refine
from ..verifier import admits
from .attribute_kinds import GRAPH, GRAPHS, attribute_kind, attribute_kinds, demands
from .attributes import build_op, decode, densify_initializer
from .codes import E_CYCLE, E_NAMES, E_NODE, E_OPSET, E_TYPE
from .debug import DOC, ORIGINS, SOURCES
from .forms import schema_versions
from .proto_types import decode_type
from .tensors import TensorReader
from .upgrade import RawNode, upgrade

_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Scope:
    """The values a graph defines, with the scopes around it."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.values: dict[str, Value] = {}

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(name)
            if found is not None:
                return found
            scope = scope.outer
        return None


class GraphReader:
    """Reads the graphs of one model.

    Args:
        tensors: decoder of tensors.
        opsets: opset version per domain.
        where: the file, for diagnostics.

    Attributes:
        notes: what the reader ignored and why.
    """

    def __init__(self, tensors: TensorReader, opsets: dict[str, int], where: str) -> None:
        self.tensors, self.opsets, self.where = tensors, opsets, where
        self.notes: list[str] = []
        self._never_runs = False

    def read_main(self, proto: Any) -> Graph:
        """The model's graph."""
        return self._graph(proto, None)

    def _graph(self, proto: Any, outer: Scope | None) -> Graph:
        graph = Graph(proto.name or "main")
        scope = Scope(outer)
        declared = {v.name: v.type for v in (*proto.value_info, *proto.output)}
        self._initializers(proto, scope)
        for info in proto.input:
            if not info.name:
                raise Diagnostic(E_NAMES, "an input of the graph has no name", self.where, "export the model again")
            if info.name in scope.values:
                if scope.values[info.name].data is None:
                    raise self._duplicate(info.name)
                continue  # an initializer with the same name is its default: it stays constant
            type_ = name_unknown_dims(decode_type(info.type, info.name), info.name)
            if outer is None and type_ is UNKNOWN:
                raise Diagnostic(E_TYPE, f"the input '{info.name}' has no type", self.where, "export the model again")
            scope.values[info.name] = graph.add_input(info.name, type_)
        for node in self._ordered(proto, scope):
            self._node(graph, scope, node, declared)
        outputs: list[Value] = []
        computed = {name for node in proto.node for name in node.output}
        for info in proto.output:
            value = scope.find(info.name)
            if value is None:
                raise Diagnostic(E_NAMES, f"output '{info.name}' is not computed by any node", self.where)
            if value.data is None and info.name not in computed:
                self._refined(value.type, decode_type(info.type, info.name), info.name)
            outputs.append(value)
        names = [o.name for o in proto.output]
        twice = next((n for i, n in enumerate(names) if n in names[:i]), None) if outer is None else None
        if twice is not None:
            hint = "give the outputs different names when exporting"
            raise Diagnostic(E_NAMES, f"two outputs have the name '{twice}'", f"{self.where}, value '{twice}'", hint)
        graph.set_outputs(outputs, names)
        return graph

    def _refined(self, inferred: Type, declared: Type, name: str) -> Type:
        """Join what inference found with what the file declares; a wrong declared shape is noted and ignored, a wrong type is an error."""
        merged = refine(inferred, declared)
        if merged is not None and (merged == inferred or admits(merged, inferred)):
            return merged
        message = f"'{name}' is declared as {declared} but its operator gives {inferred}"
        if isinstance(inferred, TensorType) and isinstance(declared, TensorType) and inferred.dtype is declared.dtype:
            self.notes.append(f"{message}; the declaration is ignored")
            return inferred
        raise Diagnostic(E_TYPE, message, f"{self.where}, value '{name}'", "export the model again, or remove the wrong value_info")

    def _duplicate(self, name: str) -> Diagnostic:
        return Diagnostic(
            E_NAMES,
            f"the name '{name}' is defined twice",
            f"{self.where}, value '{name}'",
            "rename one of the two: some exporters give an output the name of an inner value; pass other output names when exporting",
        )

    def _initializers(self, proto: Any, scope: Scope) -> None:
        for tensor in proto.initializer:
            if tensor.name in scope.values:
                raise self._duplicate(tensor.name)
            data = self.tensors.read(tensor, f"initializer '{tensor.name}'")
            scope.values[tensor.name] = constant(data, tensor.name)
        for sparse in proto.sparse_initializer:
            if sparse.values.name in scope.values:
                raise self._duplicate(sparse.values.name)
            scope.values[sparse.values.name] = constant(densify_initializer(sparse, self.tensors), sparse.values.name)

    # -- order ---------------------------------------------------------------------------------------------------------
    def _ordered(self, proto: Any, scope: Scope) -> list[Any]:
        """The nodes in an order of execution: the file's own when it is one, else a stable topological order."""
        defined: dict[str, int] = {}
        for index, node in enumerate(proto.node):
            for name in node.output:
                if name:
                    if name in defined or name in scope.values:
                        raise self._duplicate(name)
                    defined[name] = index
        needs: list[set[int]] = []
        sorted_already = True
        for index, node in enumerate(proto.node):
            wanted: set[int] = set()
            for name in _reads(node):
                producer = defined.get(name)
                if producer is not None:
                    wanted.add(producer)
                    sorted_already = sorted_already and producer < index
                elif scope.find(name) is None:
                    label = node.name or (node.output[0] if node.output else "")
                    raise Diagnostic(
                        E_NAMES,
                        f"'{name}' is read but never defined",
                        f"{self.where}, node '{label}' ({node.op_type})",
                        "the model is incomplete; export it again",
                    )
            needs.append(wanted)
        return list(proto.node) if sorted_already else self._topological(proto, needs)

    def _topological(self, proto: Any, needs: list[set[int]]) -> list[Any]:
        import heapq

        users: list[list[int]] = [[] for _ in needs]
        open_needs = [len(n) for n in needs]
        for index, wanted in enumerate(needs):
            for producer in wanted:
                users[producer].append(index)
        ready = [i for i, n in enumerate(open_needs) if not n]
        heapq.heapify(ready)
        order: list[Any] = []
        while ready:
            index = heapq.heappop(ready)
            order.append(proto.node[index])
            for user in users[index]:
                open_needs[user] -= 1
                if not open_needs[user]:
                    heapq.heappush(ready, user)
        if len(order) < len(needs):
            stuck = next(proto.node[i] for i, n in enumerate(open_needs) if n)
            label = stuck.name or (stuck.output[0] if stuck.output else "")
            raise Diagnostic(E_CYCLE, "the graph has a cycle", f"{self.where}, node '{label}' ({stuck.op_type})")
        return order

    # -- nodes ---------------------------------------------------------------------------------------------------------
    def _node(self, graph: Graph, scope: Scope, proto: Any, declared: dict[str, Any]) -> None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        label = proto.name or (proto.output[0] if proto.output else "")
        where = f"{self.where}, node '{label}' ({domain + '.' if domain else ''}{proto.op_type})"
        if not proto.op_type:
            raise Diagnostic(E_NAMES, "the node names no operator", where, "export the model again")
        if not proto.output and (not domain or (domain, proto.op_type) in OPS):
            raise Diagnostic(E_OPERANDS, "the node names no result", where, "export the model again")
        version = self.opsets.get(domain)
        if version is None:
            if (domain, proto.op_type) not in OPS and domain not in ("com.microsoft",):
                raise Diagnostic(E_OPSET, f"the model uses domain '{domain}' without importing it", where)
            version = 1
        inputs = [None if not n else scope.find(n) for n in proto.input]
        attributes, graphs = self._attributes(proto, attribute_kinds(domain, proto.op_type, version), where)
        required, operands = demands(domain, proto.op_type, version)
        if len(inputs) < operands:
            raise Diagnostic(E_OPERANDS, f"{proto.op_type} takes at least {operands} operands, not {len(inputs)}", where)
        for name in required:
            if name not in attributes and name not in graphs:
                given = ", ".join([*attributes, *graphs]) or "none"
                raise Diagnostic(E_ATTRIBUTE, f"attribute '{name}' is missing (given: {given})", where, "export the model again")
        raw = RawNode(graph, domain, proto.op_type, version, inputs, attributes, list(proto.output), label, where)
        try:
            results = upgrade(raw)
            if results is None:
                results = self._build(graph, scope, raw, graphs, declared, proto)
        except _UNFORESEEN as error:
            message = f"the node cannot be read: {type(error).__name__}: {error}"
            raise Diagnostic(E_NODE, message, where, "export the model again") from error
        if len(results) < len(proto.output):
            raise Diagnostic(E_OPERANDS, f"{raw.op_type} has {len(results)} results, the node names {len(proto.output)}", where)
        self._define(scope, proto, results, declared)

    def _attributes(self, proto: Any, kinds: dict[str, int], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The decoded attributes of a node, and its subgraphs."""
        attributes: dict[str, Any] = {}
        graphs: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in attributes or attribute.name in graphs:
                raise Diagnostic(E_ATTRIBUTE, f"attribute '{attribute.name}' is given twice", where)
            kind = attribute_kind(attribute, kinds, where)
            if kind == GRAPH:
                graphs[attribute.name] = attribute.g
            elif kind == GRAPHS:
                raise Diagnostic(E_ATTRIBUTE, f"attribute '{attribute.name}' is a list of graphs", where)
            else:
                attributes[attribute.name] = decode(attribute, kind, self.tensors, where)
        return attributes, graphs

    def _build(
        self,
        graph: Graph,
        scope: Scope,
        raw: RawNode,
        graphs: dict[str, Any],
        declared: dict[str, Any],
        proto: Any,
    ) -> list[Value]:
        cls = OPS.get((raw.domain, raw.op_type))
        if cls is None and not raw.domain and not schema_versions(raw.op_type):
            hint = did_you_mean(raw.op_type, [n for d, n in OPS if not d])
            hint = f" ({hint})" if hint.startswith("did") else ""
            self.notes.append(f"ai.onnx has no operator '{raw.op_type}'{hint}; {raw.where} is carried through unchanged")
        if cls is None or raw.keep_opaque:
            types: list[Type] = [name_unknown_dims(decode_type(declared[n], n), n) if n in declared else UNKNOWN for n in raw.outputs]
            op: Op = Opaque(
                raw.domain,
                raw.op_type,
                raw.version,
                tuple(sorted(raw.attributes.items())),
                tuple(graphs),
                tuple(types),
            )
            names = tuple(graphs)
        else:
            names = cls.region_names
            if set(graphs) != set(names):
                raise Diagnostic(E_ATTRIBUTE, f"needs the subgraphs {list(names)}, the node has {list(graphs)}", raw.where)
            op = build_op(cls, raw.attributes, raw.where)
        inputs = list(raw.inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        regions = self._regions(op, inputs, [graphs[n] for n in names], scope)
        try:
            node = graph.insert(op, inputs, outputs=len(raw.outputs), regions=regions, names=raw.outputs, name=raw.name)
        except Diagnostic as error:
            if not self._never_runs:
                error.where = raw.where
                raise
            types = [name_unknown_dims(decode_type(declared[n], n), n) if n in declared else UNKNOWN for n in raw.outputs]
            node = graph.insert(op, inputs, outputs=len(raw.outputs), regions=regions, names=raw.outputs, name=raw.name, types=types)
        if regions and not self._never_runs:
            infer_node(node, self.notes)  # the operands say more about the regions' inputs than the file declares
        node.metadata = {p.key: p.value for p in proto.metadata_props if p.key not in (ORIGINS, SOURCES, DOC)}
        if proto.doc_string:
            node.metadata[DOC] = proto.doc_string
        return list(node.outputs)

    def _regions(self, op: Op, inputs: list[Value | None], protos: list[Any], scope: Scope) -> list[Graph]:
        """The subgraphs of a node. Exporters leave branches for other shapes, which never run: what does not fit there is no error."""
        rule: Any = getattr(op, "dead_regions", None)
        dead = rule([None if v is None else v.type for v in inputs]) if rule is not None and inputs else ()
        regions: list[Graph] = []
        outer = self._never_runs
        for index, proto in enumerate(protos):
            self._never_runs = outer or index in dead
            regions.append(self._graph(proto, scope))
        self._never_runs = outer
        return regions

    def _define(self, scope: Scope, proto: Any, results: list[Value], declared: dict[str, Any]) -> None:
        stored = {p.key: p.value for p in proto.metadata_props if p.key in (ORIGINS, SOURCES)}
        sources = _strings(stored.get(SOURCES)) or ((proto.name,) if proto.name else ())
        origins = _lists(stored.get(ORIGINS))
        for index, name in enumerate(proto.output):
            if not name:
                continue
            value = results[index]
            if value.data is None:
                given = origins[index] if index < len(origins) else (name,)
                value.origins = value.origins + tuple(o for o in given if o not in value.origins)
                if value.producer is not None and not value.producer.sources:
                    value.producer.sources = sources
                if name in declared:
                    type_ = name_unknown_dims(decode_type(declared[name], name), name)
                    value.type = self._refined(value.type, type_, name)
            scope.values[name] = value


def _reads(node: Any) -> Iterator[str]:
    """Names a node reads from its own graph or from graphs around it, those of its subgraphs included."""
    for name in node.input:
        if name:
            yield name
    for attribute in node.attribute:
        if attribute.type == GRAPH:
            yield from _captures(attribute.g)


def _captures(graph: Any) -> Iterator[str]:
    inner = {i.name for i in graph.input} | {i.name for i in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    inner.update(name for node in graph.node for name in node.output)
    for node in graph.node:
        for name in _reads(node):
            if name not in inner:
                yield name
    for output in graph.output:
        if output.name not in inner:
            yield output.name


def _strings(text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(s for s in found if isinstance(s, str)) if isinstance(found, list) else ()


def _lists(text: str | None) -> list[tuple[str, ...]]:
    if not text:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [_strings(json.dumps(item)) for item in found] if isinstance(found, list) else []
