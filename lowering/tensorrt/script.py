"""What builds the engine on a device: a Python script and the lines of ``trtexec``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .engine import Profile
from .shapes import trtexec_flags

SCRIPT_FILE, SHELL_FILE, PROFILES_FILE = "build.py", "build.sh", "profiles.json"
DEVICES = {
    "jetson-xavier": "SM72", "t4": "SM75", "a100": "SM80", "a10": "SM86", "a2": "SM86", "jetson-orin": "SM87", "l4": "SM89",
    "rtx-4060": "SM89", "h100": "SM90", "jetson-thor": "SM110", "rtx-5060": "SM120", "dgx-spark": "SM121",
}  # fmt: skip
"""Compute capability by device."""

SCRIPT = '''"""Build the engine of this bundle for the GPU of this machine, with tensorrt or tensorrt_rtx.

    python build.py [--output engine.plan] [--timing-cache timing.cache]
"""

import argparse
import json
import pathlib
import sys

try:
    import tensorrt as trt
except ImportError:
    import tensorrt_rtx as trt

HERE = pathlib.Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "engine.plan")
    parser.add_argument("--timing-cache", type=pathlib.Path, help="read and written; ignored by TensorRT-RTX")
    parser.add_argument("--optimization-level", type=int, choices=range(6))
    arguments = parser.parse_args()

    settings = json.loads((HERE / "profiles.json").read_text(encoding="utf-8"))
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    onnx_parser = trt.OnnxParser(network, logger)
    if not onnx_parser.parse_from_file(str(HERE / "model.onnx")):
        for index in range(onnx_parser.num_errors):
            print(onnx_parser.get_error(index).desc(), file=sys.stderr)
        return 3
    config = builder.create_builder_config()
    (config.set_flag if settings["tf32"] else config.clear_flag)(trt.BuilderFlag.TF32)
    if arguments.optimization_level is not None:
        config.builder_optimization_level = arguments.optimization_level
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    for ranges in settings["profiles"]:
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            if tensor.is_shape_tensor:
                profile.set_shape_input(tensor.name, *ranges[tensor.name])
            elif any(size < 0 for size in tensor.shape):
                profile.set_shape(tensor.name, *map(tuple, ranges[tensor.name]))
        config.add_optimization_profile(profile)
    cache = None
    if arguments.timing_cache is not None and trt.__name__ == "tensorrt":
        known = arguments.timing_cache.read_bytes() if arguments.timing_cache.exists() else b""
        cache = config.create_timing_cache(known)
        config.set_timing_cache(cache, False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return 3
    arguments.output.write_bytes(bytes(engine))
    if cache is not None:
        arguments.timing_cache.write_bytes(bytes(cache.serialize()))
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''


def profiles_json(profiles: Sequence[Profile], settings: Mapping[str, Any]) -> bytes:
    """What the script reads: the profiles by input, and the flags of the builder."""
    ranges = [{name: [list(corner) for corner in corners] for name, corners in sorted(profile.items())} for profile in profiles]
    return (json.dumps({"profiles": ranges, "tf32": bool(settings["tf32"])}, indent=1) + "\n").encode()


def command_line(profiles: Sequence[Profile], settings: Mapping[str, Any], engine: str = "engine.plan") -> list[str]:
    """The arguments of ``trtexec``."""
    flags = ["trtexec", "--onnx=model.onnx", "--stronglyTyped", f"--saveEngine={engine}", "--skipInference"]
    if not settings["tf32"]:
        flags.append("--noTF32")
    if settings["timing_cache"]:
        flags.append("--timingCacheFile=timing.cache")
    if settings["optimization_level"] is not None:
        flags.append(f"--builderOptimizationLevel={settings['optimization_level']}")
    return [*flags, *trtexec_flags(profiles)]


def shell_script(profiles: Sequence[Profile], settings: Mapping[str, Any], waiting: Sequence[str]) -> bytes:
    """A shell script that builds the engine with trtexec where it is installed, else with the Python script.

    Args:
        profiles: the ranges of the input shapes.
        settings: the target's options.
        waiting: compute capabilities whose engines are not in the bundle.
    """
    line = " \\\n    ".join(shlex.quote(part) for part in command_line(profiles, settings))
    cache = " --timing-cache timing.cache" if settings["timing_cache"] else ""
    told = f"# Not built ahead of time: {', '.join(waiting)}. Run this there.\n" if waiting else ""
    text = (
        "#!/bin/sh\n# Builds the engine for the GPU of this machine.\n"
        f'{told}set -e\ncd "$(dirname "$0")"\nif command -v trtexec > /dev/null; then\n  {line}\nelse\n'
        f"  python3 {SCRIPT_FILE}{cache}\nfi\n"
    )
    return text.encode()
