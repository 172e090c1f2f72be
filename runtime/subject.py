"""What can be compared: a model file, a model in memory, or a bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..ir.custom import libraries_of
from ..ir.diagnostics import Diagnostic, code
from ..ir.dtypes import DType
from ..ir.model import Model
from ..ir.serial.debug import ORIGINS, SOURCES
from ..ir.serial.reader import read_model
from ..lowering.ort.engine import Engine
from ..lowering.signature import Signature
from .bundle import Bundle, is_bundle, load_bundle
from .mixed import MixedEngine, load_engine, python_operators
from .subgraph import ProtoGraph, constant_tensors

E_COMPARE = code(
    "E0622",
    "the two models cannot be compared",
    "They must take the same inputs and give at least one output in common, and something must be there to feed them with.",
)
# bytes; larger weights are moved to a file, so that cutting parts out of the model copies no weights
EXTERNAL_FROM = 1 << 12


class Subject:
    """One side of a comparison.

    Attributes:
        label: how reports call it.
        signature: inputs and outputs.
        model: the model as read, None for bundles of runtimes that do not execute ONNX.
        graph: the ONNX graph for intermediate values, None for bundles of runtimes that do not execute ONNX.
    """

    def __init__(self, source: str | Path | Model | Bundle, libraries: Sequence[str | Path] = ()) -> None:
        """Open a model file, a model, a bundle, or the path of a bundle.

        Args:
            source: what to open.
            libraries: shared libraries with custom operators, besides those that the source names itself.

        Raises:
            Diagnostic: what reading a model or opening a bundle raises.
        """
        self._scratch = tempfile.TemporaryDirectory(prefix="edgec-verify-")
        self._given = tuple(libraries)
        try:
            self._open(source)
        except BaseException:
            self.close()
            raise

    def _open(self, source: str | Path | Model | Bundle) -> None:
        self._folder: Path = Path(self._scratch.name)
        self._bundle: Bundle | None = None
        self._opened_bundle = False
        self.libraries: tuple[str, ...] = tuple(str(library) for library in self._given)
        self.model: Model | None = None
        if isinstance(source, str | Path) and is_bundle(source):
            source, self._opened_bundle = load_bundle(source), True
        if isinstance(source, Bundle):
            self._open_bundle(source)
        elif isinstance(source, Model):
            self.label = source.path.name if source.path is not None else "model"
            self.libraries += libraries_of(source)
            self.signature = Signature.of(source)
            self.model = source
            path = self._folder / "model.onnx"
            source.save(path, external_data=True)
            self.graph: ProtoGraph | None = ProtoGraph(_parse(path))
        else:
            path = Path(source)
            self.label = path.name
            self.model = read_model(path)
            self.libraries += libraries_of(self.model)
            self.signature = Signature.of(self.model)
            self.graph = ProtoGraph(self._lighten(_parse(path), path.parent))

    def _open_bundle(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.label, self.signature, self.graph = bundle.folder.name, bundle.signature, None
        name = bundle.manifest.get("lowering", {}).get("onnx")
        if name:
            path = bundle.folder / name
            self.model = read_model(path)
            self.libraries += tuple(str(bundle.folder / entry) for entry in bundle.manifest["options"].get("custom_op_libraries", ()))
            self.graph = ProtoGraph(self._lighten(_parse(path), path.parent))

    def _lighten(self, proto: Any, folder: Path) -> Any:
        """Move inline weights to a scratch file unless the model keeps weights in files of its own already."""
        tensors = list(proto.graph.initializer)
        if any(t.data_location == t.EXTERNAL for t in constant_tensors(proto.graph)):
            self._folder = folder
            return proto
        position = 0
        with (self._folder / "weights").open("wb") as stream:
            for tensor in tensors:
                raw = tensor.raw_data
                if len(raw) < EXTERNAL_FROM:
                    continue
                stream.write(bytes(-position % 64) + raw)
                position += -position % 64
                tensor.ClearField("raw_data")
                for key, text in (("location", "weights"), ("offset", str(position)), ("length", str(len(raw)))):
                    tensor.external_data.add(key=key, value=text)
                tensor.data_location = tensor.EXTERNAL
                position += len(raw)
        return proto

    @property
    def python_operators(self) -> list[str]:
        """The operators that run in Python because no library has a kernel for them."""
        return [] if self.model is None or self._bundle is not None else python_operators(self.model, self.libraries)

    @property
    def precision(self) -> DType | None:
        """The coarsest element type that a bundle's manifest declares for computing, None when it says
        nothing.
        """
        facts = self._bundle.manifest.get("lowering", {}) if self._bundle is not None else {}
        name = facts.get("precision")
        return DType.from_short(name) if name in {d.short for d in DType} else None

    @property
    def folder(self) -> Path:
        """Where the external weights of the graph lie."""
        return self._folder.resolve()

    def engine(self, part: Any, *, level: str = "disable", data_folder: Path | None = None) -> Engine | MixedEngine:
        """A session for a model cut out of this one, or for a variant of it with weights in a folder of its own."""
        return load_engine(part, level=level, libraries=self.libraries, data_folder=data_folder or self.folder, where=self.label)

    @cached_property
    def _whole(self) -> Engine | MixedEngine:
        assert self.graph is not None
        return self.engine(self.graph.model)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs as the user gets them: a bundle runs in its own runtime, a model without runtime
        optimisations.
        """
        checked = self.signature.check(feeds, self.label)
        return self._bundle.run(checked) if self._bundle is not None else self._whole.run(checked)

    @property
    def weight_bytes(self) -> int:
        """The size of the weights, or of the bundle's files."""
        if self.graph is not None:
            return self.graph.weight_bytes()
        return sum(entry["bytes"] for entry in self._bundle.manifest["files"].values()) if self._bundle is not None else 0

    def release(self) -> None:
        """Drop the loaded model; the next `run` loads it again."""
        self.__dict__.pop("_whole", None)
        if self._bundle is not None and self._opened_bundle:
            self._bundle.__dict__.pop("session", None)

    @cached_property
    def handles(self) -> dict[str, tuple[str, ...]]:
        """Per tensor of the graph (inputs included) the names of the source model's tensors that it equals."""
        if self.graph is None:
            recorded = self._bundle.debug["values"] if self._bundle is not None else {}
            return {spec.name: tuple(recorded.get(spec.name, (spec.name,))) for spec in self.signature.outputs}
        found: dict[str, tuple[str, ...]] = {name: (name,) for name in self.graph.inputs}
        for node in self.graph.nodes:
            origins = _property(node, ORIGINS)
            for index, name in enumerate(node.output):
                if name:
                    own = origins[index] if index < len(origins) else [name]
                    found[name] = tuple(own) or (name,)
        return found

    def sources(self, index: int) -> list[str]:
        """The source model's nodes that a node stands for."""
        assert self.graph is not None
        node = self.graph.nodes[index]
        return [str(name) for name in _property(node, SOURCES)] or [node.name or node.output[0]]

    def close(self) -> None:
        """Remove the scratch files."""
        self._scratch.cleanup()

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _property(node: Any, key: str) -> list[Any]:
    for entry in node.metadata_props:
        if entry.key == key:
            try:
                value = json.loads(entry.value)
            except ValueError:
                return []
            return value if isinstance(value, list) else []
    return []


def _parse(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise Diagnostic(E_COMPARE, f"it cannot be read: {error}", str(path)) from error
