"""`Model` → OpenVINO model → model.xml and model.bin with reproducible bytes."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.model import Model
from ..backend import Verdict, refuse, refuse_model

_LAYER = re.compile(r'(<layer id="\d+" name=")([^"]*)(" type=")([^"]*)(")')
_GENERATED = re.compile(r"[A-Z]\w*_\d+")
_TOP_K = re.compile(r'(type="TopK" version="opset11"[^>]*>\s*<data [^>]*sort="(?:value|index)"[^>]*)stable="false"')
IN_MEMORY = 1 << 30
_BOILERPLATE = re.compile(r"Exception from |Check '.*' failed at |FrontEnd API failed|Model wasn't fully|Summary:|To facilitate ")


@dataclass(frozen=True, eq=False)
class Imported:
    """An ``openvino.Model``; files that its weights are mapped from are removed when this object goes."""

    model: Any


def import_model(core: Any, model: Model) -> Imported:
    """Let OpenVINO's ONNX importer read a model.

    Args:
        core: an ``openvino.Core``.
        model: the model, all of whose operators the importer knows.

    Raises:
        Diagnostic: E0501 with the importer's reason.
    """
    large = sum(value.data.nbytes for value in model.graph.constants() if value.data is not None) > IN_MEMORY
    folder = tempfile.mkdtemp(prefix="edgec-openvino-") if large else None
    try:
        if folder is None:
            return Imported(core.read_model(model.to_bytes()))  # files go another way, on which some operators fail
        path = Path(folder) / "model.onnx"
        model.save(path)
        imported = Imported(core.read_model(str(path)))
        weakref.finalize(imported, shutil.rmtree, folder, True)
        return imported
    except Exception as error:
        if folder is not None:
            shutil.rmtree(folder, True)
        if isinstance(error, Diagnostic):
            raise
        raise refusal("OpenVINO's ONNX importer", model, error) from error


def refusal(who: str, model: Model, error: Exception) -> Diagnostic:
    """A runtime exception as a refusal that names the node when the exception does."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not _BOILERPLATE.match(line)]
    reason = told[0] if told else type(error).__name__
    text = str(error)
    for node in model.graph.walk():
        if node.name and re.search(rf"(?<![\w/.]){re.escape(node.name)}(?![\w/.])", text):
            found = refuse("openvino", [(node, Verdict("none", f"{who} refuses it: {reason}"[:500], code="attribute"))])
            found.notes += told[1:8]
            return found
    return refuse_model("openvino", "operator", f"{who} refuses it: {reason}"[:500], notes=told[1:8])


def save_reproducibly(model: Any, path: Path, keep: Collection[str], compress: bool) -> None:
    """Write model.xml and model.bin; equal models give equal bytes.

    The importer numbers the layers that it makes up with a counter of the process. They are numbered anew, by
    type and position.

    Args:
        model: an ``openvino.Model``.
        path: the .xml file; the weights go beside it.
        keep: layer names that came from the model and stay.
        compress: store floating-point weights as float16.
    """
    import openvino

    openvino.save_model(model, path, compress_to_fp16=compress)
    xml = _TOP_K.sub(r'\1stable="true"', path.read_text(encoding="utf-8"))  # ONNX takes equal elements by position
    path.write_text(rename_layers(xml, keep), encoding="utf-8")


def rename_layers(xml: str, keep: Collection[str]) -> str:
    """The XML text with the names of made-up layers replaced by their type and a running number.

    >>> rename_layers('<layer id="3" name="Constant_8123" type="Const" version="opset1">', ())
    '<layer id="3" name="Const#0" type="Const" version="opset1">'
    """
    kept = set(keep)
    counts: dict[str, int] = {}

    def renamed(match: re.Match[str]) -> str:
        name, kind = match[2], match[4]
        if name in kept or not _GENERATED.match(name):
            return match[0]
        number = counts[kind] = counts.get(kind, -1) + 1
        return f"{match[1]}{kind}#{number}{match[3]}{kind}{match[5]}"

    return _LAYER.sub(renamed, xml)
