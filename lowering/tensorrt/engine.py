"""ONNX → network → engine, by TensorRT's own parser and builder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sdk import Sdk

Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
Profile = Mapping[str, Range]
"""By input: least, optimal and greatest shape (or elements, for an input that is itself a shape)."""

_QUOTED = re.compile(r'&&\s*"(?P<told>[^"]+)"')
_ASSERTION = re.compile(r"^Assertion failed: .*?: (?P<told>[A-Z].*)$", re.S)
_ERROR_CODE = re.compile(r"Error Code \d+: (?P<told>.*)", re.S)
_SOURCE = re.compile(r"\s+In \w+ at \S+(?:\.cpp|\.h):\d+\)?$|\[\S+\.(?:h|cpp):\d+: \w+\] ")
# What the library's words tell about the kind of obstacle; the first kind that fits decides.
_KINDS = {
    "dynamic-shape": ("shape constraints", "optimization profile", "is a shape tensor and must have type"),
    "dynamic-parameter": ("build-time constant", "an initializer", "is_weights", "shape tensor"),
    "dtype": ("HW-specific datatypes", "data type", "date type", "datatype", "input type", " type "),
    "operator": ("no importer", "lugin", "no runners"),
    "rank": ("rank", "nbDims"),
    "control-flow": ("tScope", "newNodeOrder"),
}
_CODES = {
    "UNSUPPORTED_NODE_ATTR": "attribute",
    "UNSUPPORTED_NODE_DATATYPE": "dtype",
    "UNSUPPORTED_NODE_DYNAMIC": "dynamic-shape",
    "UNSUPPORTED_NODE_SHAPE": "rank",
}


@dataclass(frozen=True)
class Refusal:
    """Why TensorRT does not take a node or a network.

    Attributes:
        reason: in the library's words, without source positions.
        code: the kind of obstacle, one of `lowering.backend.REASON_CODES`.
        node: the name of the ONNX node, when the library names one.
    """

    reason: str
    code: str
    node: str = ""


@dataclass
class Parsed:
    """A network that the parser made. The parser owns the weights and the builder the network, so both have to stay."""

    builder: Any
    network: Any
    parser: Any


def parse(sdk: Sdk, source: bytes | Path) -> Parsed | list[Refusal]:
    """The network of a strongly typed ONNX model, or why the parser does not take it (at least one reason)."""
    with sdk.lock:
        sdk.forget_messages()
        builder, network = sdk.create_network()
        parser = sdk.trt.OnnxParser(network, sdk.logger)
        done = parser.parse(source) if isinstance(source, bytes) else parser.parse_from_file(str(source))
        if done:
            return Parsed(builder, network, parser)
        found = [_of_parser(parser.get_error(i)) for i in range(parser.num_errors)]
        return list(dict.fromkeys(found)) or [Refusal("; ".join(sdk.messages)[:500] or "the parser gives no reason", "operator")]


def build(
    sdk: Sdk,
    parsed: Parsed,
    capabilities: Sequence[str],
    profiles: Sequence[Profile] = (),
    *,
    optimization_level: int | None = None,
    tf32: bool = False,
) -> bytes | Refusal:
    """The engine for a set of compute capabilities, or why the builder refuses.

    Args:
        sdk: the library.
        parsed: the network.
        capabilities: such as ``SM86``; together they make one engine for several architectures. Empty: for the GPU that is present.
        profiles: ranges of dynamic shapes; needed when the network has inputs of dynamic shape.
        optimization_level: 0 (fastest build) to 5, None for the library's default.
        tf32: whether products of float32 may be computed with 10 bits of mantissa.
    """
    with sdk.lock:
        sdk.forget_messages()
        config = parsed.builder.create_builder_config()
        if optimization_level is not None:
            config.builder_optimization_level = optimization_level
        (config.set_flag if tf32 else config.clear_flag)(sdk.trt.BuilderFlag.TF32)
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
            for index, name in enumerate(capabilities):
                config.set_compute_capability(getattr(sdk.trt.ComputeCapability, name), index)
        inputs = [parsed.network.get_input(i) for i in range(parsed.network.num_inputs)]
        for ranges in profiles:
            profile = parsed.builder.create_optimization_profile()
            try:
                for item in inputs:
                    if item.is_shape_tensor:
                        profile.set_shape_input(item.name, *map(list, ranges[item.name]))
                    elif any(d < 0 for d in item.shape):
                        profile.set_shape(item.name, *ranges[item.name])
            except RuntimeError as error:  # how the binding reports sizes that do not fit
                return Refusal(str(error), "dynamic-shape")
            if config.add_optimization_profile(profile) < 0:
                return Refusal("an optimisation profile is inconsistent: " + _told(sdk), "dynamic-shape")
        built = parsed.builder.build_serialized_network(parsed.network, config)
        if built is None:
            text = _told(sdk)
            return Refusal(text, _kind(text, "attribute"))
        return bytes(built)


def tensors(parsed: Parsed) -> tuple[list[Any], list[Any]]:
    """The inputs and the outputs of a network."""
    network = parsed.network
    return [network.get_input(i) for i in range(network.num_inputs)], [network.get_output(i) for i in range(network.num_outputs)]


def layers(parsed: Parsed) -> list[tuple[str, str]]:
    """Kind and name of every layer of a network, before the builder fuses any."""
    found = (parsed.network.get_layer(i) for i in range(parsed.network.num_layers))
    return [(str(layer.type).rsplit(".", 1)[-1], layer.name) for layer in found]


def _of_parser(error: Any) -> Refusal:
    text, code = error.desc(), str(error.code()).rsplit(".", 1)[-1]
    if text.strip() == "false":
        return Refusal("the ONNX parser has no importer for the operator", "operator", error.node_name())
    quoted, told = _QUOTED.search(text), _ASSERTION.match(text)
    plain = quoted["told"] if quoted else told["told"] if told else text
    within = _ERROR_CODE.search(plain)
    plain = _SOURCE.sub("", within["told"] if within else plain).strip()
    return Refusal(plain[:400], _CODES.get(code) or _kind(plain, "attribute"), error.node_name())


@contextmanager
def silence() -> Iterator[None]:
    """Keep off the standard error stream what the library writes there past its logger (the log has it too)."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _told(sdk: Sdk) -> str:
    lines = [match["told"] if (match := _ERROR_CODE.search(text)) else text for text in sdk.messages]
    return "; ".join(dict.fromkeys(_SOURCE.sub("", line).strip() for line in lines))[:600] or "the builder gives no reason"


def _kind(text: str, otherwise: str) -> str:
    return next((code for code, parts in _KINDS.items() if any(part in text for part in parts)), otherwise)
