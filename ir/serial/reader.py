"""ONNX file → `Model`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic
from ..model import Model
from .codes import E_NOT_FOUND, E_NOT_ONNX, E_OPSET
from .functions import inline_functions
from .graph_reader import GraphReader
from .sniff import foreign_format
from .tensors import TensorReader, map_file
from .texts import check_texts
from .wire import split

MIN_OPSET = 1
_AGAIN = "check that the copy is complete, or export the model again; report it if other runtimes take the file"
MODEL_PROPERTIES = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


def read_model(path: str | Path) -> Model:
    """Read an ONNX file; weights stay in the file (memory-mapped) until something needs their bytes.

    Raises:
        Diagnostic: the file is missing, damaged, inconsistent or uses an unsupported opset.
    """
    path = Path(path)
    if path.is_dir():
        raise Diagnostic(E_NOT_FOUND, f"'{path}' is a folder", f"file '{path}'", "name the .onnx file inside it")
    return _read(map_file(path), path.name, path)


def read_model_bytes(data: bytes, name: str = "<bytes>", folder: Path | None = None) -> Model:
    """Read a serialised ModelProto from memory; external data must lie in ``folder``."""
    return _read(data, name, None, folder)


def _read(buffer: Any, name: str, path: Path | None, folder: Path | None = None) -> Model:
    where = f"file '{name}'"
    try:
        return _decode(buffer, name, where, path, path.parent if path is not None else folder)
    except Diagnostic as error:
        if where not in error.where:
            error.where = f"{where}, {error.where}" if error.where else where
        error.hint = error.hint or _AGAIN
        raise


def _decode(buffer: Any, name: str, where: str, path: Path | None, folder: Path | None) -> Model:
    if not len(buffer):
        raise Diagnostic(E_NOT_ONNX, "the file is empty", where, _AGAIN)
    foreign = foreign_format(bytes(buffer[:128]))
    if foreign is not None:
        raise Diagnostic(E_NOT_ONNX, f"this is {foreign[0]}, not an ONNX model", where, foreign[1])
    skeleton, extents = split(buffer, name)
    proto = _parse(skeleton, where)
    if not proto.HasField("graph"):
        raise Diagnostic(E_NOT_ONNX, "the file holds no graph", where, _AGAIN)
    if not proto.graph.output:
        raise Diagnostic(E_NOT_ONNX, "the graph has no outputs", where, "export the model again, with outputs")
    opsets = _opsets(proto, where)
    if proto.functions:
        proto = inline_functions(proto, where)
        opsets = _opsets(proto, where)
    check_texts(proto, where)
    tensors = TensorReader(buffer, extents, folder)
    reader = GraphReader(tensors, opsets, where)
    graph = reader.read_main(proto.graph)
    model = Model(graph, opsets, proto.ir_version, {p.key: p.value for p in proto.metadata_props}, path=path, notes=reader.notes)
    for key in MODEL_PROPERTIES:
        if getattr(proto, key):
            model.properties[key] = getattr(proto, key)
    if proto.graph.doc_string:
        model.properties["graph_doc"] = proto.graph.doc_string
    if proto.graph.metadata_props:
        model.properties["graph_metadata"] = json.dumps({p.key: p.value for p in proto.graph.metadata_props}, sort_keys=True)
    return model


def _parse(skeleton: bytes, where: str) -> Any:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    proto = ModelProto()
    try:
        proto.ParseFromString(skeleton)
    except DecodeError as error:
        hint = "the file is something else or damaged; export the model again"
        raise Diagnostic(E_NOT_ONNX, f"not a valid ONNX model: {error}", where, hint) from None
    return proto


def _opsets(proto: Any, where: str) -> dict[str, int]:
    from onnx.defs import onnx_opset_version

    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in proto.opset_import}
    if "" not in opsets and not opsets:
        if proto.ir_version >= 3:
            raise Diagnostic(E_OPSET, "the model imports no operator set", where, "export the model again")
        opsets[""] = 1
    newest = onnx_opset_version()
    version = opsets.get("", newest)
    if not MIN_OPSET <= version <= newest:
        raise Diagnostic(
            E_OPSET,
            f"opset {version} is not supported (1 to {newest} are)",
            where,
            "export with an older opset, or update edgec",
        )
    return opsets
