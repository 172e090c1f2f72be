"""The TFLite backend: .tflite files for LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...ir.diagnostics import Diagnostic
from ...ir.graph import Graph, Node
from ...ir.model import Model
from ..artifact import Artifact, Loss, debug_handles
from ..backend import E_OPTION, Backend, Session, Support, Verdict, refuse, refuse_model, refuse_python
from ..caches import cache_passes, check_cache_length
from ..signature import Signature
from ..wide_floats import losses_of_narrowing
from . import rewrites  # noqa: F401  (registers the passes)
from .emitter import Emitter, Winograd
from .matrix import foreign, judge, problems, rows
from .quantized import has_quantization, plan_of
from .quantized_emitter import QuantizedEmitter
from .quantized_report import integer_signature, interface_facts, quantisation_facts, quantisation_losses
from .session import TfLiteSession
from .signatures import SignatureSession, choose, parse_signatures, specialised
from .unrolling import UNROLL
from .weights import BLOCKS, SCALES, SHRINK, STORED, compress
from .writer import SIGNATURE_KEY, FlatModel

MODEL_FILE = "model.tflite"
CLEANUP = "fold-constants{share=50},fold-if,remove-no-ops,simplify-shapes,common-subexpressions,dead-code"
TRIAL = f"fix(tflite-rewrites,{UNROLL},fold-constants,fold-if,dead-code)"
DESCRIPTION = "compiled by edgec"
OWN_PASSES = f"inline-regions,fix(tflite-rewrites,{UNROLL},{CLEANUP}),assign-layout,fix({CLEANUP}),settle-quantization,dead-code"
INTERFACES = ("float", "int8")


class TfLiteBackend(Backend):
    """LiteRT on the CPU, with XNNPACK where it has a kernel.

    Options:
        threads: threads of one inference; None means one.
        xnnpack: whether XNNPACK's kernels are used where there are any, instead of the builtin ones.
        weights: ``keep`` stores them as the model has them; ``f16``, ``int8`` and ``int4`` in fewer bits (see `weights`).
        weight_scales: how the scales of int8 and int4 weights are chosen: by the extremes (``minmax``) or the squared error (``mse``).
        weight_block: elements of a row that share a float16 scale in products with int4 weights; one scale for each row without it.
        winograd: whether float32 convolutions are computed by minimal filtering where XNNPACK takes less time for it on a CPU, with up to
            2.7 times their weights; not with weights in fewer bits, and not for delegates, which have algorithms of their own.
        interface: ``float`` keeps inputs and outputs as the model has them; with ``int8`` those that the model quantises are integers.
        kv_cache: positions of the buffers that key-value caches become; they keep growing without it.
        signatures: sizes of symbolic dimensions for each of several signatures that share the weights:
            ``prefill:sequence=32;decode:sequence=1``.
        signature: which of them a session runs; the first when None.
    """

    name: ClassVar[str] = "tflite"
    extra: ClassVar[str] = "tflite"
    option_defaults: ClassVar[Mapping[str, Any]] = {
        "threads": None,
        "xnnpack": True,
        "winograd": True,
        "interface": "float",
        "weights": "keep",
        "weight_scales": "minmax",
        "weight_block": None,
        "kv_cache": None,
        "signatures": None,
        "signature": None,
    }

    def available(self) -> str | None:
        """None when ai-edge-litert is installed, else why not."""
        try:
            import ai_edge_litert.interpreter  # noqa: F401
            import flatbuffers  # noqa: F401
        except ImportError as error:
            return f"ai-edge-litert does not import ({error}); install it with: pip install 'edgec[tflite]'"
        return None

    def version(self) -> str:
        """The version of the installed ai-edge-litert."""
        from importlib.metadata import version

        return version("ai-edge-litert")

    @property
    def matrix(self) -> Sequence[Support]:
        """The rows of all emitters, and one row for each operator class without any."""
        return rows()

    def support(self, node: Node) -> Verdict:
        """How a node runs, the rewrites included."""
        from .trial import judge_rewritten

        verdict = judge(node)
        return verdict if verdict.runs else judge_rewritten(node, verdict, TRIAL)

    def pipeline(self, options: Mapping[str, Any]) -> str:
        """The portable pipeline, then LiteRT's rewrites with what they leave to fold, then the choice of layouts.

        With several signatures what follows the portable part is run for the sizes of each.
        """
        portable = f"materialize-weights,default,{cache_passes(options)}"
        return portable + (f"fix({CLEANUP})" if options.get("signatures") else OWN_PASSES)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, checked."""
        options = super().options(given)
        threads = options["threads"]
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
            raise Diagnostic(E_OPTION, f"threads={threads!r} is not a number of threads")
        for name in ("xnnpack", "winograd"):
            if not isinstance(options[name], bool):
                raise Diagnostic(E_OPTION, f"{name}={options[name]!r} is neither true nor false")
        if options["interface"] not in INTERFACES:
            raise Diagnostic(E_OPTION, f"interface={options['interface']!r} is none of {', '.join(INTERFACES)}")
        if options["weights"] not in STORED:
            raise Diagnostic(E_OPTION, f"weights={options['weights']!r} is none of {', '.join(STORED)}")
        if options["weight_scales"] not in SCALES:
            raise Diagnostic(E_OPTION, f"weight_scales={options['weight_scales']!r} is none of {', '.join(SCALES)}")
        if options["weight_block"] not in (None, *BLOCKS):
            raise Diagnostic(E_OPTION, f"weight_block={options['weight_block']!r} is none of {', '.join(map(str, BLOCKS))}")
        check_cache_length(options["kv_cache"])
        options["signatures"] = parse_signatures(options["signatures"])
        return options

    def lower(self, model: Model, options: Mapping[str, Any]) -> Artifact:
        """Emit the flatbuffer.

        Raises:
            Diagnostic: E0501 naming the node that LiteRT cannot run, E0503 when ai-edge-litert is not installed, E0510 for a model
                that does not fit into 2 GB.
        """
        self.require()
        settings = self.options(options)
        refuse_python(self.name, model)
        sizes = settings["signatures"]
        variants = specialised(model, sizes, OWN_PASSES) if sizes else {SIGNATURE_KEY: model}
        flat = FlatModel(DESCRIPTION, SHRINK[settings["weights"]])
        winograd = Winograd() if settings["winograd"] and settings["xnnpack"] and settings["weights"] == "keep" else None
        integers = settings["interface"] == "int8"
        emitted = [_emit(flat, key, variant, integers, winograd) for key, variant in variants.items()]
        first = emitted[0]
        losses = list(dict.fromkeys(loss for part in emitted for loss in part.losses))
        facts: dict[str, Any] = {}
        if settings["weights"] != "keep":
            report = compress(flat, settings["weights"], settings["weight_scales"], settings["weight_block"])
            losses, facts = losses + report.losses, {"weights": report.facts}
        narrowed = any(part.narrowed for part in emitted)
        facts |= {"litert": self.version(), "operators": operator_counts(flat), "float64": "float32" if narrowed else "", **first.facts}
        if winograd is not None and winograd.convolutions:
            facts["winograd"] = asdict(winograd)
        if sizes:
            facts["signatures"] = {key: part.signature.to_json() for key, part in zip(variants, emitted, strict=True)}
        signature, debug = first.signature, {**debug_handles(model), "values": first.handles}
        files = {MODEL_FILE: flat.write}
        return Artifact(self.name, files, signature, facts, settings, tuple(losses), debug)

    def open(self, folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> Session:
        """Load the bundle's model."""
        recorded = {name: value for name, value in manifest.get("options", {}).items() if name in self.option_defaults}
        narrowed = bool(manifest["lowering"].get("float64"))
        settings = self.options({**recorded, **options})
        if manifest["lowering"].get("signatures"):
            return SignatureSession(folder / MODEL_FILE, *choose(manifest, settings["signature"]), settings)
        return TfLiteSession(folder / MODEL_FILE, Signature.from_json(manifest["signature"]), settings, narrowed)


@dataclass(frozen=True)
class _Emitted:
    """What came of one signature."""

    signature: Signature
    losses: list[Loss]
    narrowed: bool
    facts: dict[str, Any]
    handles: dict[str, list[str]]


def _emit(flat: FlatModel, key: str, model: Model, integers: bool, winograd: Winograd | None) -> _Emitted:
    """Write one signature of a model."""
    graph = model.graph
    found = problems(graph.walk())
    if found:
        raise refuse("tflite", found)
    _check_interface(graph)
    plan = plan_of(graph) if has_quantization(graph) else None
    emitter = Emitter(flat, winograd=winograd) if plan is None else QuantizedEmitter(flat, plan, integers, winograd=winograd)
    emitter.run(graph)
    _publish(flat, key, emitter, graph)
    losses, signature = losses_of_narrowing(model.graph), Signature.of(model)
    narrowed, facts = bool(losses), {}
    if plan is not None:
        facts["quantisation"] = quantisation_facts(plan)
        losses += quantisation_losses(plan)
        if integers:
            signature = integer_signature(signature, graph, plan)
            facts["quantisation"]["interface"] = interface_facts(graph, plan)
    return _Emitted(signature, losses, narrowed, facts, emitter.handles())


def _check_interface(graph: Graph) -> None:
    """Raise `Diagnostic` E0501 for an input or output that no tensor of LiteRT can hold."""
    inputs = [(value, f"input '{value.name}'") for value in graph.inputs]
    outputs = [(value, f"output '{name}'") for name, value in zip(graph.output_names, graph.outputs, strict=True)]
    for value, where in inputs + outputs:
        verdict = foreign(value)
        if verdict is not None:
            raise refuse_model("tflite", verdict.code, verdict.reason, where)


def _publish(flat: FlatModel, key: str, emitter: Emitter, graph: Graph) -> None:
    subgraph = emitter.subgraph
    inputs = list(zip([v.name for v in graph.inputs], subgraph.inputs, strict=True))
    flat.signature(key, flat.subgraphs.index(subgraph), inputs, list(zip(graph.output_names, subgraph.outputs, strict=True)))


def operator_counts(flat: FlatModel) -> dict[str, int]:
    """How often each builtin operator occurs, by name."""
    counts: dict[str, int] = {}
    for subgraph in flat.subgraphs:
        for operator in subgraph.operators:
            counts[operator.name] = counts.get(operator.name, 0) + 1
    return dict(sorted(counts.items()))
