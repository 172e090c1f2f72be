"""The Core ML backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...ir.graph import Node
from ...ir.model import Model
from ..artifact import Artifact, debug_handles
from ..backend import Backend, Session, Support, Verdict, refuse
from ..caches import cache_passes
from ..loops import UNROLL
from ..signature import Signature
from . import rewrites  # noqa: F401  (registers the pass)
from .emit.dispatch import judge
from .matrix import problems, rows
from .options import DEFAULTS, check_options
from .package import PACKAGE, clean_metadata, package_files
from .session import CoreMlSession
from .states import State
from .versions import NEWEST, Release

PLACEMENT = "placement.json"
CLEANUP = "fold-constants,fold-if,remove-no-ops,simplify-shapes,dead-code"


class CoreMlBackend(Backend):
    """Core ML: an ``.mlpackage`` with an ML program.

    Options:
        minimum_target: the oldest release that has to run it: ``iOS15`` to ``iOS18`` (with the macOS, watchOS and tvOS of its year).
        precision: arithmetic of floating-point operators: ``f32`` or ``f16``.
        keep_f32: with ``f16``, the node names and MIL operator types that stay in float32.
        weights: how constants are stored: ``f32``, ``f16``, ``int8``, ``int4-blockwise``, ``palette4``, ``palette6`` or ``palette8``.
        block_size: elements that share a scale with ``int4-blockwise``.
        weight_threshold: constants with fewer elements are not compressed.
        shapes: sizes of symbolic dimensions: ``batch=1..8;tokens=64,128,256``.
        images: inputs that are images: ``image=RGB`` with an optional scale and bias, ``image=RGB/255``.
        states: pairs of inputs and outputs that become a state: ``past_key=present_key``; ``auto`` for every key-value cache.
        kv_cache: positions of the buffers that key-value caches become; they keep growing without it.
        metadata: further metadata: ``author=…;license=…``.
        runtime: what runs a bundle: ``evaluator`` (operator by operator), ``coreml`` (macOS), or ``auto``.
    """

    name: ClassVar[str] = "coreml"
    extra: ClassVar[str] = "coreml"
    option_defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def available(self) -> str | None:
        """None when coremltools is installed, else why not."""
        try:
            from .program import quiet

            quiet()
        except ImportError as error:
            return f"coremltools does not import ({error}); install it with: pip install 'edgec[coreml]'"
        return None

    def version(self) -> str:
        """The version of the installed coremltools."""
        import coremltools

        return coremltools.__version__

    @property
    def rows_version(self) -> str:
        """The newest release of the systems that packages are made for: rows speak of those, not of coremltools."""
        return NEWEST.text

    @property
    def matrix(self) -> Sequence[Support]:
        """One row per translation."""
        return rows()

    def support(self, node: Node) -> Verdict:
        """How a node runs on the newest release, the rewrites included."""
        from .trial import judge_rewritten

        verdict = judge(node, NEWEST)
        return verdict if verdict.runs else judge_rewritten(node, verdict)

    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The portable pipeline, then the rewrites with what they leave to fold."""
        target = options.get("minimum_target", DEFAULTS["minimum_target"])
        return f"default,{cache_passes(options)}{UNROLL},fix(coreml-rewrites{{target={target}}},{UNROLL},{CLEANUP})"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, checked."""
        return check_options(super().options(given))

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Translate the model into an ML program.

        Raises:
            Diagnostic: E0501 naming the node that cannot be translated, E0503 when coremltools is not installed.
        """
        from .images import parse_images
        from .losses import losses_of
        from .placement import predict, summary
        from .prepare import prepare
        from .program import build_program
        from .shapes import FlexibleShapes
        from .states import parse_states
        from .weights import compression

        self.require()
        settings = self.options(options)
        prepare(model)
        release = Release.of(settings["minimum_target"])
        found = problems(list(model.graph.walk()), release)
        if found:
            raise refuse(self.name, found)
        shapes = FlexibleShapes(model, settings["shapes"])
        images, states = parse_images(settings["images"], model), parse_states(settings["states"], model)
        program = build_program(model, settings, shapes, compression(settings), images, states)
        signature = _without_states(Signature.of(model), states)
        clean_metadata(program.model, *_metadata(model, settings))
        facts: dict[str, Any] = {
            "package": PACKAGE,
            "minimum_target": release.text,
            "precision": settings["precision"],
            "weights": settings["weights"],
            "inputs": [port.to_json() for port in program.inputs],
            "outputs": [port.to_json() for port in program.outputs],
            "images": {name: image.to_json() for name, image in images.items()},
            "states": {state.past: state.present for state in states.values()},
            "coremltools": self.version(),
        }
        ranged = any(not sizes.listed for sizes in shapes.sizes.values())
        placements = predict(program.model.get_spec(), ranged)
        facts["placement"] = {**summary(placements), "operations": PLACEMENT}
        handles = debug_handles(model)
        named = {name: list(value.origins) for value, name in program.names.items() if value.origins}
        handles["values"] = {**handles["values"], **named}
        losses = losses_of(model, program.inputs, program.outputs, shapes, settings, images, states)
        kept = {name: settings[name] for name in ("minimum_target", "precision", "runtime")}
        files = package_files(program.model)
        files[PLACEMENT] = (json.dumps([p.to_json() for p in placements], indent=0) + "\n").encode()
        return Artifact(self.name, files, signature, facts, kept, losses, handles)

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the bundle's package."""
        recorded = {name: value for name, value in manifest.get("options", {}).items() if name in self.option_defaults}
        settings = self.options({**recorded, **options})
        return CoreMlSession(folder / PACKAGE, Signature.from_json(manifest["signature"]), manifest["lowering"], settings)


def _without_states(signature: Signature, states: Mapping[str, State]) -> Signature:
    """The inputs and outputs that are left when the program keeps the others itself."""
    hidden = {state.present for state in states.values()}
    inputs = tuple(spec for spec in signature.inputs if spec.name not in states)
    return Signature(inputs, tuple(spec for spec in signature.outputs if spec.name not in hidden))


def _metadata(model: Model, settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """User-defined metadata and the fields that Core ML has of its own."""
    stated = {key: str(value) for key, value in settings["metadata"].items()}
    fields = {key: stated.pop(key) for key in ("author", "license", "versionString", "shortDescription") if key in stated}
    properties = model.properties
    fields.setdefault("shortDescription", str(properties.get("doc_string") or ""))
    if properties.get("model_version"):
        fields.setdefault("versionString", str(properties["model_version"]))
    carried = {f"onnx.{key}": str(value) for key, value in model.metadata.items()}
    for key in ("producer_name", "producer_version", "domain"):
        if properties.get(key):
            carried[f"onnx.{key}"] = str(properties[key])
    return {**carried, **stated}, fields
