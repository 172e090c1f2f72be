"""The engines of one model: parsing, profiles, building, and who is to blame when that fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.model import Model
from ...ir.ops.attention import Attention
from ..artifact import Loss
from ..backend import Verdict, refuse, refuse_model
from .codes import E_BUILD
from .engine import Parsed, Profile, Refusal, build, layers, parse, silence, tensors
from .options import engine_sets
from .sdk import load
from .shapes import default_ranges, profile_of, symbols_of
from .trial import disagreement

TARGET = "tensorrt"
IN_MEMORY = 1 << 30
_NO_KERNEL = "Attention operation was not supported"


class NoAttentionKernel(Exception):
    """The builder has no kernel for some attention at the sizes of the network; spelled out it builds."""


@dataclass(frozen=True)
class BuiltEngine:
    """One engine.

    Attributes:
        capabilities: the compute capabilities it runs on; empty: those of the GPU of the machine that built it.
        content: its bytes.
    """

    capabilities: tuple[str, ...]
    content: bytes

    @property
    def file(self) -> str:
        """Its name in the bundle."""
        return f"engine_{'_'.join(self.capabilities) or 'local'}.engine"

    def to_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"file": self.file, "capabilities": list(self.capabilities), "bytes": len(self.content)}


class Assembly:
    """Parses the typed model and builds its engines.

    Attributes:
        sdk: the library.
        layers: number of layers of the network, before fusion.
        profiles: optimisation profiles, by input.
        ranges: the same by symbolic dimension.
        waiting: compute capabilities whose engines have to be built on the device.
        losses: what the profiles do not cover.
    """

    def __init__(self, model: Model, folder: Path, settings: Mapping[str, Any], buildable: Sequence[str]) -> None:
        """Parse the model.

        Args:
            model: the typed model.
            folder: for large models, which do not fit into one message.
            settings: the target's options.
            buildable: the compute capabilities that the library builds for.

        Raises:
            Diagnostic: E0501 naming the node that the parser refuses.
        """
        self.model, self.settings, self.sdk = model, settings, load()
        self._source = self._written(folder)
        parsed = self._parsed()
        self.layers = len(layers(parsed))
        found = disagreement(self.sdk, parsed, model.graph)
        if found is not None:
            raise refuse_model(TARGET, found.code, found.reason)
        wanted = engine_sets(settings)
        self._sets = [names for names in wanted if self.sdk.ahead_of_time and all(name in buildable for name in names)]
        self.waiting = tuple(dict.fromkeys(name for names in wanted for name in names if names not in self._sets))
        self.losses: tuple[Loss, ...] = ()
        self._candidates = self._profile_candidates(parsed)
        self.ranges, self.profiles = self._candidates[0]

    def _written(self, folder: Path) -> bytes | Path:
        if sum(value.data.nbytes for value in self.model.graph.constants() if value.data is not None) < IN_MEMORY:
            return self.model.to_bytes()
        path = folder / "model.onnx"
        self.model.save(path)
        return path

    def _parsed(self) -> Parsed:
        parsed = parse(self.sdk, self._source)
        if isinstance(parsed, Parsed):
            return parsed
        raise self._refused(parsed[0], "TensorRT's ONNX parser")

    def _profile_candidates(self, parsed: Parsed) -> list[tuple[tuple[Mapping[str, Any], ...], tuple[Profile, ...]]]:
        inputs = self.model.graph.inputs
        shape_inputs: dict[str, int] = {}
        for item in tensors(parsed)[0]:
            if item.is_shape_tensor:
                count = 1
                for size in item.shape:
                    count *= size
                if count < 0:
                    reason = "the number of elements of an input that gives a shape is not known"
                    raise refuse_model(TARGET, "dynamic-parameter", reason, f"input '{item.name}'")
                shape_inputs[item.name] = count
        symbols = symbols_of(inputs)
        given = self.settings["profiles"]
        if given:
            return [(tuple(given), tuple(profile_of(inputs, ranges, shape_inputs) for ranges in given))]
        if not symbols and not shape_inputs:
            return [((), ())]
        return [((ranges,), (profile_of(inputs, ranges, shape_inputs),)) for ranges in default_ranges(symbols)]

    def engines(self) -> list[BuiltEngine]:
        """Build every engine that can be built here.

        Raises:
            Diagnostic: E0501 or E0552 when the builder refuses.
            NoAttentionKernel: see there.
        """
        built: list[BuiltEngine] = []
        for names in self._sets:
            built.append(BuiltEngine(names, self._built(names)))
        if self.ranges and not self.settings["profiles"]:
            said = ", ".join(f"{name} {low} to {high}" for name, (low, _, high) in self.ranges[0].items())
            what = f"the engines take only sizes of a guessed range ({said}); state yours with the option profiles"
            self.losses = (Loss("dynamic-shape", "inputs", what),)
        return built

    def _built(self, names: tuple[str, ...]) -> bytes:
        first: Refusal | None = None
        for ranges, profiles in list(self._candidates):
            level, tf32 = self.settings["optimization_level"], self.settings["tf32"]
            with silence():
                content = build(self.sdk, self._parsed(), names, profiles, optimization_level=level, tf32=tf32)
            if isinstance(content, bytes):
                self.ranges, self.profiles = ranges, profiles
                self._candidates = [(ranges, profiles)]  # all engines take the same shapes
                return content
            if _NO_KERNEL in content.reason and any(isinstance(node.op, Attention) for node in self.model.graph.walk()):
                raise NoAttentionKernel
            first = first or content
        assert first is not None
        if self.ranges and not self.settings["profiles"] and first.code == "dynamic-shape":
            names_of = ", ".join(self.ranges[0])
            reason = f"no guess at the ranges of the dimensions fits ({names_of}); state them with the option profiles"
            raise refuse_model(TARGET, "dynamic-shape", reason, notes=[first.reason])
        if "Assertion" in first.reason and any(node.regions for node in self.model.graph.walk()):
            first = Refusal(first.reason, "control-flow")  # the library's own assertions fail on branches and loops
        raise self._refused(first, f"TensorRT's builder ({'+'.join(names)})")

    def _refused(self, said: Refusal, who: str) -> Diagnostic:
        for node in self.model.graph.walk():
            names = [name for name in (node.name, *(v.name for v in node.outputs)) if len(name) > 2]
            if (
                said.node
                and said.node in names
                or any(re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w/.])", said.reason) for name in names)
            ):
                return refuse(TARGET, [(node, Verdict("none", said.reason, who, said.code))])
        if who.startswith("TensorRT's builder") and said.code != "control-flow":
            hint = "try another precision, other capabilities, or profiles that state the ranges of the dynamic dimensions"
            return Diagnostic(E_BUILD, f"{who} refuses the network", hint=hint, notes=[f"reason code: {said.code}", said.reason])
        return refuse_model(TARGET, said.code, said.reason, notes=[f"evidence: {who}"])
