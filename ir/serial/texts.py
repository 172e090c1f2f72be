"""All names of a model must be UTF-8 text: protobuf hands out anything else as bytes, which no later step expects."""

from __future__ import annotations

from typing import Any

from ..diagnostics import Diagnostic
from .attribute_kinds import GRAPH, GRAPHS
from .codes import E_NOT_ONNX


def check_texts(proto: Any, where: str) -> None:
    """Check the names and documentation of a ModelProto whose functions are inlined.

    Raises:
        Diagnostic: E0302 with the offending bytes.
    """
    texts = [proto.producer_name, proto.producer_version, proto.domain, proto.doc_string]
    texts += [o.domain for o in proto.opset_import]
    texts += [t for p in proto.metadata_props for t in (p.key, p.value)]
    _check(texts, "the model's properties", where)
    waiting = [proto.graph]
    while waiting:
        graph = waiting.pop()
        _check_graph(graph, where)
        for node in graph.node:
            metadata = [t for p in node.metadata_props for t in (p.key, p.value)]
            _check((node.name, node.op_type, node.domain, node.doc_string, *node.input, *node.output, *metadata), "a node", where)
            for attribute in node.attribute:
                if type(attribute.name) is bytes:
                    _check((attribute.name,), "an attribute's name", where)
                if attribute.type == GRAPH:
                    waiting.append(attribute.g)
                elif attribute.type == GRAPHS:
                    waiting.extend(attribute.graphs)


def _check_graph(graph: Any, where: str) -> None:
    tensors = [*graph.initializer, *(s.values for s in graph.sparse_initializer)]
    names = [graph.name, graph.doc_string]
    names += [t.name for t in tensors]
    names += [t for tensor in tensors for e in tensor.external_data for t in (e.key, e.value)]
    names += [t for p in graph.metadata_props for t in (p.key, p.value)]
    for infos in (graph.input, graph.output, graph.value_info):
        for info in infos:
            names.append(info.name)
    _check(names, "a graph's names", where)


def _check(texts: Any, what: str, where: str) -> None:
    try:
        "".join(texts)
    except TypeError:
        wrong = next(t for t in texts if not isinstance(t, str))
        hint = "the file is damaged, or its exporter wrote names in another encoding; export it again with plain names"
        message = f"not a valid ONNX model: {what} holds bytes that are not UTF-8 text: {wrong[:80]!r}"
        raise Diagnostic(E_NOT_ONNX, message, where, hint) from None
