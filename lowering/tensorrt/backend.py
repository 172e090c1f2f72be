"""The TensorRT backend."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...ir.diagnostics import Diagnostic
from ...ir.graph import Node
from ...ir.model import Model
from ...passes.default_pipeline import cleanup_pipeline, default_pipeline
from ...passes.manager import run_passes
from ..artifact import Artifact, Loss, debug_handles
from ..backend import E_LOAD, Backend, Session, Support, Verdict, refuse, refuse_python
from ..signature import Signature
from . import legalize
from .codes import E_NO_GPU
from .options import checked_options, engine_sets
from .session import STAND_IN, EngineSession, ReferenceSession

MODEL_FILE, GAPS_FILE = "model.onnx", "plugins.json"
SPELL_ATTENTION = "decompose{ops=[Attention]},fix(fold-constants,common-subexpressions,dead-code)"


class TensorRtBackend(Backend):
    """TensorRT: a strongly typed ONNX model, engines built ahead of time, and scripts for devices whose engines cannot be built here.

    Options:
        capabilities: compute capabilities to build engines for, such as ``SM86`` or ``["SM86", "SM89"]``; ``SM80+SM86+SM89`` is one
            engine for several architectures.
        device: a device such as ``jetson-orin`` in place of its compute capability.
        precision: the arithmetic of float32 operators: ``f32``, ``f16`` or ``bf16``.
        keep_f32: names of nodes or operators that stay in float32.
        tf32: whether products of float32 may be computed with 10 bits of mantissa.
        profiles: ranges of the symbolic dimensions; see `edgec.lowering.tensorrt.shapes.parse_profiles`.
        timing_cache: whether the scripts read and write a timing cache.
        optimization_level: the builder's effort, 0 to 5; None is its default.
        reference: of sessions: run the typed ONNX model in ONNX Runtime in place of the engine.
    """

    name: ClassVar[str] = "tensorrt"
    extra: ClassVar[str] = "tensorrt"
    option_defaults: ClassVar[Mapping[str, Any]] = {
        "capabilities": ("SM86",),
        "device": None,
        "precision": "f32",
        "keep_f32": (),
        "tf32": False,
        "profiles": None,
        "timing_cache": False,
        "optimization_level": None,
        "reference": False,
    }

    def available(self) -> str | None:
        """None when tensorrt or tensorrt_rtx is installed, else why not."""
        from .sdk import missing

        return missing()

    def version(self) -> str:
        """The version of the installed library."""
        from .sdk import load

        return load().version

    @property
    def matrix(self) -> Sequence[Support]:
        """Rows by operator class, from documents, probes and the parser's registry."""
        from .matrix import rows

        return rows()

    def support(self, node: Node) -> Verdict:
        """How a node runs by the word of the parser, the rewrites included."""
        from .matrix import judge

        return judge(node, ("SM86",))

    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The portable pipeline, then what the parser or the builder refuses, respelled."""
        settings = self.options(options)
        known = self._buildable(settings)
        given = [f"capabilities=[{','.join(known)}]"] if known else []
        given += [f"precision={settings['precision']}"] if settings["precision"] != "f32" else []
        inside = "{" + ",".join(given) + "}" if given else ""
        return f"default,fix({legalize.NAME}{inside},unroll-loops{{max_trips=256,max_nodes=20000}},fold-if),{cleanup_pipeline()}"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, checked."""
        return checked_options(super().options(given))

    def _buildable(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The compute capabilities asked for that the installed library builds for."""
        from .sdk import load, missing

        if missing() is not None:
            return ()
        wanted = {name for names in engine_sets(settings) for name in names}
        return tuple(name for name in load().ahead_of_time if name in wanted)

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Type the model, let the parser read it, and build the engines.

        Raises:
            Diagnostic: E0501 naming the node that TensorRT does not take, E0503 when no TensorRT is installed, E0552 when the builder
                refuses the whole.
        """
        from .assemble import Assembly, NoAttentionKernel
        from .matrix import problems
        from .plugins import plugin_gaps
        from .prepare import prepare
        from .script import PROFILES_FILE, SCRIPT, SCRIPT_FILE, SHELL_FILE, command_line, profiles_json, shell_script

        self.require()
        refuse_python(self.name, model)
        settings = self.options(options)
        signature = Signature.of(model)
        buildable = self._buildable(settings)
        prepared = prepare(model, settings, buildable)
        found = problems(prepared.model.graph.walk(), buildable)
        if found:
            raise refuse(self.name, found)
        with tempfile.TemporaryDirectory(prefix="edgec-tensorrt-") as folder:
            try:
                assembly = Assembly(prepared.model, Path(folder), settings, buildable)
                engines = assembly.engines()
            except NoAttentionKernel:
                run_passes(prepared.model.graph, SPELL_ATTENTION)
                assembly = Assembly(prepared.model, Path(folder), settings, buildable)
                engines = assembly.engines()
        gaps = plugin_gaps(_portable(model, buildable), buildable, settings["precision"])
        files: dict[str, Any] = {
            MODEL_FILE: lambda path: prepared.model.save(path),
            PROFILES_FILE: profiles_json(assembly.profiles, settings),
            SCRIPT_FILE: SCRIPT.encode(),
            SHELL_FILE: shell_script(assembly.profiles, settings, assembly.waiting),
            GAPS_FILE: (json.dumps({"gaps": [gap.to_json() for gap in gaps]}, indent=1) + "\n").encode(),
            **{engine.file: engine.content for engine in engines},
        }
        facts = {
            "onnx": MODEL_FILE,
            "sdk": {"name": assembly.sdk.name, "version": assembly.sdk.version},
            "precision": settings["precision"],
            "engines": [engine.to_json() for engine in engines],
            "on_device": list(assembly.waiting),
            "network_layers": assembly.layers,
            "profiles": [{name: list(sizes) for name, sizes in ranges.items()} for ranges in assembly.ranges],
            "trtexec": command_line(assembly.profiles, settings),
            "boundary": _boundary(prepared.model),
            "executable_here": False,
            "stand_in": STAND_IN,
        }
        losses = (*prepared.losses, *assembly.losses, *_flag_losses(settings))
        return Artifact(self.name, files, signature, facts, settings, losses, debug_handles(prepared.model))

    def check(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Every engine that was built lies in the folder; `lower` has parsed the model and built them, which is all that needs no GPU."""
        for engine in manifest["lowering"]["engines"]:
            path = folder / engine["file"]
            if not path.is_file() or path.stat().st_size != engine["bytes"]:
                raise Diagnostic(E_LOAD, "an engine is missing or incomplete", engine["file"], "compile the model again")

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the engine for the GPU of this machine, or with ``reference`` the typed ONNX model in ONNX Runtime.

        Raises:
            Diagnostic: E0551 when there is no GPU that an engine of the bundle fits.
        """
        from .cuda import capability

        recorded = {name: value for name, value in manifest.get("options", {}).items() if name in self.option_defaults}
        settings = self.options({**recorded, **options})
        facts, signature = manifest["lowering"], Signature.from_json(manifest["signature"])
        if settings["reference"]:
            return ReferenceSession(folder / facts["onnx"], signature, facts["boundary"])
        present = capability()
        fitting = [engine["file"] for engine in facts["engines"] if present in engine["capabilities"] or not engine["capabilities"]]
        if present is None or not fitting:
            raise _no_engine(present, facts)
        return EngineSession(folder / fitting[0], signature, facts["boundary"])


def _no_engine(present: str | None, facts: Mapping[str, Any]) -> Diagnostic:
    built = ", ".join("+".join(engine["capabilities"]) for engine in facts["engines"]) or "no capability"
    here = "this machine has no NVIDIA GPU or no driver for it" if present is None else f"this machine's GPU is {present}"
    hint = "open it with reference=true, or verify its model.onnx, to judge the typed model in its place; or build on the device: build.sh"
    return Diagnostic(E_NO_GPU, f"the engines are built for {built}; {here}", hint=hint)


def _portable(model: Model, capabilities: Sequence[str]) -> Model:
    """The model before the target's own passes, where its file is still there: as imported or, if it has gaps then, cleaned up."""
    from ...ir.serial.reader import read_model
    from .matrix import problems

    if model.path is None or model.path.suffix != ".onnx" or not model.path.is_file():
        return model
    imported = read_model(model.path)
    if problems(imported.graph.walk(), capabilities):
        run_passes(imported.graph, default_pipeline())
    return imported


def _boundary(model: Model) -> dict[str, dict[str, str]]:
    graph = model.graph
    return {
        "inputs": {value.name: value.tensor.dtype.short for value in graph.inputs},
        "outputs": {name: value.tensor.dtype.short for name, value in zip(graph.output_names, graph.outputs, strict=True)},
    }


def _flag_losses(settings: Mapping[str, Any]) -> tuple[Loss, ...]:
    if not settings["tf32"]:
        return ()
    return (Loss("precision", "products", "products of float32 may be computed in TF32: a relative rounding error of 2^-11 each"),)
