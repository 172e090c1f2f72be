"""`Graph` → serialised GraphProto without weights, and the list of weights."""

from __future__ import annotations

import json
from typing import Any

from ..data import TensorData
from ..diagnostics import Diagnostic
from ..graph import Graph, Node, Value
from ..model import Model
from ..op import EDGEC, Opaque
from ..types import Type
from .attribute_kinds import attribute_kinds
from .attributes import encode
from .codes import E_EXPORT
from .debug import DOC, ORIGINS, SOURCES
from .forms import cannot_say, least_opset, node_form
from .proto_types import encode_type

DEFAULT_OPSET = 18  # newer redefinitions cost: ONNX Runtime runs a ShuffleNet 10 % slower with AveragePool of opset 19


def choose_opset(model: Model, wanted: int | None) -> int:
    """The ai.onnx opset to write: the wanted one when the graph can be said in it, by default the oldest that can, but not below the
    file's own nor below `DEFAULT_OPSET`.

    Raises:
        Diagnostic: E0308 naming the node that the opset cannot say.
    """
    if wanted is not None:
        from onnx.defs import onnx_opset_version

        if not 7 <= wanted <= onnx_opset_version():
            raise Diagnostic(E_EXPORT, f"opset {wanted} cannot be written (7 to {onnx_opset_version()} can)")
        for node in model.graph.walk():
            reason = cannot_say(node, wanted) if not node.op.domain else None
            if reason:
                raise Diagnostic(
                    E_EXPORT,
                    f"opset {wanted} cannot express this node: {reason}",
                    node.where,
                    "ask for a newer opset, or let the legalize pass decompose it",
                )
        return wanted
    old = [n.op.version for n in model.graph.walk() if isinstance(n.op, Opaque) and n.op.domain == ""]
    opset = old[0] if old else max(DEFAULT_OPSET, model.opsets.get("", DEFAULT_OPSET))
    for node in model.graph.walk():
        least = least_opset(node, opset)
        if least is None or (old and least > opset):
            reason = cannot_say(node, opset)
            raise Diagnostic(E_EXPORT, f"no opset from {opset} on can express this node: {reason}", node.where)
        opset = max(opset, least)
    return opset


class GraphWriter:
    """Writes the graphs of one model at one opset.

    Attributes:
        domains: the domains other than ai.onnx that nodes use.
    """

    def __init__(self, model: Model, opset: int) -> None:
        self.model, self.opset = model, opset
        self.domains: set[str] = set()
        self.names: dict[Value, str] = {}
        self.used: set[str] = set()
        self.node_names: set[str] = set()

    def write(self) -> tuple[bytes, list[tuple[str, TensorData]]]:
        """The graph without initializers, and the initializers as (name, data) in order of first use."""
        graph = self.model.graph
        for value in graph.inputs:
            self.names[value] = value.name
            self.used.add(value.name)
        self.used.update(graph.output_names)
        constants: list[tuple[str, TensorData]] = []
        for value in graph.constants():
            name = self._name(value, "constant")
            assert value.data is not None
            constants.append((name, value.data))
        proto = self._graph(graph, main=True)
        if "graph_doc" in self.model.properties:
            proto.doc_string = self.model.properties["graph_doc"]
        for key, text in json.loads(self.model.properties.get("graph_metadata", "{}")).items():
            proto.metadata_props.add(key=key, value=text)
        return proto.SerializeToString(), constants

    def _name(self, value: Value, stem: str = "v") -> str:
        name = self.names.get(value)
        if name is None:
            base = name = value.name or stem
            serial = 1
            while name in self.used:
                name = f"{base}_{serial}"
                serial += 1
            self.names[value] = name
            self.used.add(name)
        return name

    def _graph(self, graph: Graph, main: bool) -> Any:
        from onnx import GraphProto

        proto = GraphProto(name=graph.name)
        if not main:
            for value in graph.inputs:
                self._name(value)
        outputs, copies = self._outputs(graph, main)
        for value in graph.inputs:
            self._declare(proto.input.add(), self.names[value], value.type)
        for node in graph:
            self._node(proto.node.add(), node)
        for name, value in copies:
            proto.node.add(op_type="Identity", name=self._node_name(f"copy_{name}"), input=[self._name(value)], output=[name])
        for name, value in zip(outputs, graph.outputs, strict=True):
            self._declare(proto.output.add(), name, value.type)
        return proto

    def _outputs(self, graph: Graph, main: bool) -> tuple[list[str], list[tuple[str, Value]]]:
        """The output names, and the copies (name, value) needed where an output is not a fresh result of a node of this graph."""
        names: list[str] = []
        copies: list[tuple[str, Value]] = []
        returned: set[Value] = set()
        for position, value in enumerate(graph.outputs):
            wanted = graph.output_names[position] if main else None
            own = value.producer is not None and value.producer.graph is graph
            passed_through = main and value.is_input and value.name == wanted
            if passed_through or own and value not in returned:
                if own and wanted is not None:
                    self.names[value] = wanted
                names.append(self._name(value))
            else:
                names.append(wanted or self._copy_name(value))
                copies.append((names[-1], value))
            returned.add(value)
        return names, copies

    def _copy_name(self, value: Value) -> str:
        base = f"{value.name or 'v'}_copy"
        name, serial = base, 1
        while name in self.used:
            name, serial = f"{base}_{serial}", serial + 1
        self.used.add(name)
        return name

    def _declare(self, info: Any, name: str, type_: Type) -> None:
        info.name = name
        try:
            info.type.CopyFrom(encode_type(type_))
        except Diagnostic as error:
            error.where = error.where or f"value '{name}'"
            raise

    def _node_name(self, name: str) -> str:
        base, serial = name, 1
        while name in self.node_names:
            name, serial = f"{base}_{serial}", serial + 1
        self.node_names.add(name)
        return name

    def _node(self, proto: Any, node: Node) -> None:
        if node.op.domain == EDGEC:
            raise Diagnostic(E_EXPORT, "a fused region cannot be written to ONNX", node.where, "run the `inline-regions` pass first")
        form = node_form(node, self.opset) if not node.op.domain else None
        if isinstance(form, str):
            raise Diagnostic(E_EXPORT, f"opset {self.opset} cannot express this node: {form}", node.where)
        inputs = form.inputs if form is not None else list(node.inputs)
        attributes = form.attributes if form is not None else dict(node.op.changed_attributes())
        proto.op_type = node.op.op_name
        if node.op.domain:
            proto.domain = node.op.domain
            self.domains.add(node.op.domain)
        outputs = self._results(node)
        proto.name = self._node_name(node.name or f"{node.op.op_name}_{outputs[0]}")
        proto.input.extend("" if v is None else self._name(v) for v in inputs)
        proto.output.extend(outputs)
        version = self.model.opsets.get(node.op.domain, 1) if node.op.domain else self.opset
        kinds = attribute_kinds(node.op.domain, node.op.op_name, version)
        for name, value in attributes.items():
            if value is not None:
                proto.attribute.append(encode(name, value, kinds.get(name, 0)))
        for name, region in zip(node.op.region_names, node.regions, strict=True):
            attribute = proto.attribute.add(name=name, type=5)
            attribute.g.CopyFrom(self._graph(region, main=False))
        proto.doc_string = node.metadata.get(DOC, "")
        for key in sorted(node.metadata.keys() - {DOC}):
            proto.metadata_props.add(key=key, value=node.metadata[key])
        self._debug(proto, node, outputs)

    def _results(self, node: Node) -> list[str]:
        """Result names; trailing unused optional results are left out, inner ones are empty."""
        least = max(node.op.outputs, 1)
        count = len(node.outputs)
        optional = not isinstance(node.op, Opaque) and not node.regions and node.op.op_name not in ("Split",)
        while optional and count > least and not node.outputs[count - 1].uses:
            count -= 1
        if count == len(node.outputs) == 1:
            return [self._name(node.outputs[0], node.op.op_name.lower())]
        return [
            "" if optional and index and not value.uses else self._name(value, node.op.op_name.lower())
            for index, value in enumerate(node.outputs[:count])
        ]

    def _debug(self, proto: Any, node: Node, outputs: list[str]) -> None:
        if node.sources and node.sources != (proto.name,):
            proto.metadata_props.add(key=SOURCES, value=json.dumps(list(node.sources)))
        origins = [list(v.origins) for v in node.outputs[: len(outputs)]]
        if any(o != [n] for o, n in zip(origins, outputs, strict=True)):
            proto.metadata_props.add(key=ORIGINS, value=json.dumps(origins))
