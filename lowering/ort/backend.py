"""The ONNX Runtime backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...ir.custom import libraries_of
from ...ir.diagnostics import Diagnostic, did_you_mean
from ...ir.graph import Node
from ...ir.model import Model
from ...passes.default_pipeline import cleanup_pipeline, default_pipeline
from ..artifact import Artifact, Loss, debug_handles
from ..backend import E_LOAD, E_OPTION, Backend, Session, Support, Verdict, refuse
from ..signature import Signature
from . import legalize
from .engine import LEVELS
from .facts import runs_in_float
from .matrix import best_opset, judge, rows, support_anywhere
from .session import OrtSession

MODEL_FILE = "model.onnx"
LIBRARY_FOLDER = "libraries"


class OrtBackend(Backend):
    """ONNX Runtime on the CPU: the embedded default.

    Options:
        threads: threads within one operator; None lets the runtime decide.
        optimization: the runtime's own graph optimisation level.
        opset: ai.onnx opset to write; None picks one at which every node runs.
        custom_op_libraries: shared libraries with custom operators; they are copied into the bundle.
    """

    name: ClassVar[str] = "ort"
    option_defaults: ClassVar[Mapping[str, Any]] = {
        "threads": None,
        "optimization": "all",
        "opset": None,
        "custom_op_libraries": (),
    }

    def available(self) -> str | None:
        """None: it is part of the core."""
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return f"onnxruntime does not import: {error}"
        return None

    def version(self) -> str:
        """The version of the installed onnxruntime."""
        import onnxruntime

        return onnxruntime.__version__

    @property
    def matrix(self) -> Sequence[Support]:
        """One row per operator class, from the runtime's kernel registry."""
        return rows(self.version())

    def support(self, node: Node) -> Verdict:
        """How a node runs at the most favourable opset, decompositions included."""
        from .trial import judge_rewritten

        verdict = support_anywhere(node)
        return verdict if verdict.runs else judge_rewritten(node, verdict)

    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The portable pipeline, then what the runtime has no kernel for."""
        custom = "{custom_ops=true}" if options.get("custom_op_libraries") else ""
        return f"{default_pipeline()},{legalize.NAME}{custom},{cleanup_pipeline()}"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, checked."""
        options = super().options(given)
        level, threads = options["optimization"], options["threads"]
        if level not in LEVELS:
            raise Diagnostic(E_OPTION, f"optimization='{level}' is no level", hint=did_you_mean(str(level), list(LEVELS)))
        if threads is not None and (not isinstance(threads, int) or threads < 0):
            raise Diagnostic(E_OPTION, f"threads={threads!r} is not a number of threads")
        return options

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Write the model at an opset that the runtime serves; E0501 names the first node that it does not
        run.
        """
        settings = self.options(options)
        libraries = [Path(path) for path in dict.fromkeys((*libraries_of(model), *map(str, settings["custom_op_libraries"])))]
        for library in libraries:
            if not library.is_file():
                raise Diagnostic(E_LOAD, "the custom operator library does not exist", str(library))
        opset, problems = self._opset(model, settings["opset"], bool(libraries))
        if problems:
            raise refuse(self.name, problems)
        names = _places(libraries)
        files: dict[str, Any] = {MODEL_FILE: lambda path: model.save(path, opset=opset)}
        files |= {name: library.read_bytes() for name, library in zip(names, libraries, strict=True)}
        return Artifact(
            self.name,
            files,
            Signature.of(model),
            {"onnx": MODEL_FILE, "opset": opset, "onnxruntime": self.version()},
            {"threads": settings["threads"], "optimization": settings["optimization"], "custom_op_libraries": names},
            self._losses(model, opset),
            debug_handles(model),
            {"metadata": sorted(model.metadata)},
        )

    def _opset(self, model: Model, wanted: int | None, custom: bool) -> tuple[int, list[tuple[Node, Verdict]]]:
        if wanted is None:
            return best_opset(model, self.version(), custom)
        verdicts = [(n, judge(n, wanted, model.opsets, self.version(), custom)) for n in model.graph.walk()]
        return wanted, [(node, verdict) for node, verdict in verdicts if not verdict.runs]

    def _losses(self, model: Model, opset: int) -> tuple[Loss, ...]:
        names = [node.name or node.outputs[0].name for node in model.graph.walk() if runs_in_float(node, opset)]
        if not names:
            return ()
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        what = f"{len(names)} float16 nodes run in float32: the CPU has no float16 kernel for them"
        return (Loss("precision", listed, what),)

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the bundle's model."""
        recorded = manifest.get("options", {})
        given = {name: value for name, value in recorded.items() if name in ("threads", "optimization")}
        settings = self.options({**given, **options})
        libraries = [Path(path) for path in options.get("custom_op_libraries", ())]
        if not libraries:
            libraries = [_inside(folder, name, manifest) for name in recorded.get("custom_op_libraries", ())]
        return OrtSession(
            folder / manifest.get("lowering", {}).get("onnx", MODEL_FILE),
            Signature.from_json(manifest["signature"]),
            threads=settings["threads"],
            optimization=settings["optimization"],
            libraries=libraries,
        )


def _places(libraries: Sequence[Path]) -> list[str]:
    """Where libraries lie in a bundle; a number keeps those of equal name apart."""
    names = [library.name for library in libraries]
    return [f"{LIBRARY_FOLDER}/{i}/{name}" if names.count(name) > 1 else f"{LIBRARY_FOLDER}/{name}" for i, name in enumerate(names)]


def _inside(folder: Path, name: str, manifest: Mapping[str, Any]) -> Path:
    """A library of the bundle; only files with a hash in the manifest are loaded."""
    if name not in manifest.get("files", {}):
        raise Diagnostic(E_LOAD, "the custom operator library is not a file of the bundle", str(folder / name), "compile the model again")
    return folder / name
