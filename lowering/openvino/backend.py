"""The OpenVINO backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...ir.diagnostics import Diagnostic, did_you_mean
from ...ir.graph import Node
from ...ir.model import Model
from ..artifact import Artifact, Loss, debug_handles
from ..backend import E_OPTION, Backend, Session, Support, Verdict, refuse
from ..signature import Signature
from . import rewrites  # noqa: F401  (registers the passes)
from .boundary import Boundary
from .constants import CONSTANTS_FILE, constants_bytes
from .matrix import full_rows, judge, problems
from .session import OpenVinoSession, runtime_properties

MODEL_FILE = "model.xml"
PRECISIONS = ("f32", "f16", "bf16")
CLEANUP = "fold-constants,fold-if,remove-no-ops,simplify-shapes,dead-code"


class OpenVinoBackend(Backend):
    """OpenVINO on the CPU.

    Options:
        precision: the arithmetic of floating-point operators: ``f32``, ``f16`` or ``bf16``.
        threads: threads of one inference; None lets the runtime decide.
        low_precision: whether quantised models run in 8-bit arithmetic. On CPUs without VNNI its sums of products
            saturate at 16 bits; False computes them in float32.
        compress_to_fp16: whether floating-point weights are stored as float16.
    """

    name: ClassVar[str] = "openvino"
    extra: ClassVar[str] = "openvino"
    option_defaults: ClassVar[Mapping[str, Any]] = {
        "precision": "f32",
        "threads": None,
        "low_precision": False,
        "compress_to_fp16": False,
    }

    def available(self) -> str | None:
        """None when openvino is installed, else why not."""
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            return f"openvino does not import ({error}); install it with: pip install 'edgec[openvino]'"
        return None

    def version(self) -> str:
        """The version of the installed openvino."""
        import openvino

        return openvino.__version__.split("-")[0]

    @property
    def matrix(self) -> Sequence[Support]:
        """One row per operator class."""
        return full_rows()

    def support(self, node: Node) -> Verdict:
        """How a node runs, the rewrites included."""
        from .trial import judge_rewritten

        verdict = judge(node)
        return verdict if verdict.runs else judge_rewritten(node, verdict)

    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The portable pipeline, then OpenVINO's rewrites with what they leave to fold."""
        first = "openvino-rewrites{exact=false}" if options["low_precision"] else "openvino-rewrites"
        return f"default,fix({first},unroll-loops{{max_trips=256,max_nodes=20000}},{CLEANUP})"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, checked."""
        options = super().options(given)
        if options["precision"] not in PRECISIONS:
            hint = did_you_mean(str(options["precision"]), list(PRECISIONS)) or "choose one of: " + ", ".join(PRECISIONS)
            raise Diagnostic(E_OPTION, f"precision={options['precision']!r} is not possible", hint=hint)
        threads = options["threads"]
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
            raise Diagnostic(E_OPTION, f"threads={threads!r} is not a number of threads")
        for name in ("low_precision", "compress_to_fp16"):
            if not isinstance(options[name], bool):
                raise Diagnostic(E_OPTION, f"{name}={options[name]!r} is neither true nor false")
        return options

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Import the model into OpenVINO and compile it once.

        Raises:
            Diagnostic: E0501 naming the node that OpenVINO cannot take, E0503 when openvino is not installed.
        """
        from .prepare import prepare
        from .serialize import import_model, refusal, save_reproducibly

        self.require()
        import openvino

        settings = self.options(options)
        signature = Signature.of(model)
        prepared = prepare(model)
        found = problems(list(prepared.model.graph.walk()))
        if found:
            raise refuse(self.name, found)
        files: dict[str, Any] = {CONSTANTS_FILE: constants_bytes(prepared.constants)} if prepared.constants else {}
        facts: dict[str, Any] = {"boundary": prepared.boundary.to_json(), "openvino": self.version(), "precision": settings["precision"]}
        if prepared.boundary.has_model:
            core = openvino.Core()
            imported = import_model(core, prepared.model)
            try:
                prepared.boundary.pair(core.compile_model(imported.model, "CPU", runtime_properties(settings)), self.name)
            except Diagnostic:
                raise
            except Exception as error:
                raise refusal("OpenVINO's CPU plugin", prepared.model, error) from error
            names = {text for node in prepared.model.graph.walk() for text in (node.name, *(v.name for v in node.outputs))}

            def write(path: Path) -> None:
                save_reproducibly(imported.model, path, names, settings["compress_to_fp16"])

            files[MODEL_FILE] = write
            facts["ir"] = MODEL_FILE
        losses = (*prepared.losses, *_precision_losses(settings))
        return Artifact(self.name, files, signature, facts, settings, losses, debug_handles(prepared.model))

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the bundle's model."""
        recorded = {name: value for name, value in manifest.get("options", {}).items() if name in self.option_defaults}
        return OpenVinoSession(
            folder / MODEL_FILE,
            Signature.from_json(manifest["signature"]),
            Boundary.from_json(manifest["lowering"]["boundary"]),
            self.options({**recorded, **options}),
        )


def _precision_losses(settings: Mapping[str, Any]) -> tuple[Loss, ...]:
    losses = []
    if settings["precision"] != "f32":
        losses.append(Loss("precision", "model", f"floating-point arithmetic runs in {settings['precision']} where the CPU can"))
    if settings["compress_to_fp16"]:
        losses.append(Loss("precision", "weights", "weights are stored as float16: a relative error of up to 2^-11 each"))
    if settings["low_precision"]:
        what = "8-bit products are summed in pairs that saturate at 16 bits on CPUs without VNNI; weights within ±63 are exact"
        losses.append(Loss("precision", "quantised products", what))
    return tuple(losses)
