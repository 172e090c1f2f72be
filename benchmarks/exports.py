"""Exports of real architectures from PyTorch, in TorchScript and dynamo form, into the model cache.

Needs an environment of its own: CPU `torch`, `onnx`, `onnxscript` and `onnxruntime`, and
`transformers` and `timm` installed without their dependencies (torchvision is not needed). Weights
are random with a fixed seed except where a package ships them (MiniLM, EfficientNet-lite0, SmolLM2).

    python benchmarks/exports.py [NAME...]       export what is missing, each in a fresh process
    python benchmarks/exports.py --force NAME    export again
    python benchmarks/exports.py --list

Each export is `<cache>/exports/NAME.onnx` with `NAME.npz`, valid feeds, beside it. `<cache>/INDEX.txt`
gets a line per model: path, opset, nodes, nodes with subgraphs, MiB, largest difference to PyTorch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import export_held_out  # noqa: E402
import export_sources  # noqa: E402
import zoo  # noqa: E402
from export_wrapping import Source  # noqa: E402

SEED = 20240601


class Recipe(NamedTuple):
    """How one export is made.

    Attributes:
        source: builds the module and its feeds.
        form: exporter, "ts" for TorchScript or "dyn" for dynamo.
        opset: ai.onnx version asked for.
        storage: "inline", "external" (weights in NAME.onnx.data), or "unchecked": inline, and known not
            to be valid, so that it is not run.
    """

    source: Callable[[], Source]
    form: str
    opset: int
    storage: str


def _recipes() -> dict[str, Recipe]:
    """Recipes by name, the quick ones first."""
    recipes: dict[str, Recipe] = {}
    for builder in (
        export_sources.minilm,
        export_sources.vit_tiny,
        export_sources.llama_6l,
        export_sources.qwen2_4l,
        export_sources.mobilenetv2,
        export_sources.bert_base,
        export_sources.swin_t,
        export_sources.efficientnet_lite0,
        export_sources.convnext_t,
        export_sources.resnet50,
        export_sources.mobilenetv3,
        export_sources.smollm2_4l,
    ):
        recipes[f"{builder.__name__}_ts"] = Recipe(builder, "ts", 17, "inline")
        recipes[f"{builder.__name__}_dyn"] = Recipe(builder, "dyn", 18, "inline")
    recipes["minilm_invalid_dyn"] = Recipe(export_sources.minilm_invalid, "dyn", 18, "unchecked")
    recipes["llama_6l_dyn23"] = Recipe(export_sources.llama_6l, "dyn", 23, "inline")
    recipes["gpt_large_ts"] = Recipe(export_sources.gpt_large, "ts", 17, "inline")
    recipes["gpt_large_external_ts"] = Recipe(export_sources.gpt_large, "ts", 17, "external")
    recipes["smollm2_ts"] = Recipe(export_sources.smollm2, "ts", 17, "inline")
    recipes["smollm2_dyn"] = Recipe(export_sources.smollm2, "dyn", 18, "inline")
    for builder in (export_sources.smollm2_4l_cache, export_sources.smollm2_cache):
        recipes[f"{builder.__name__}_ts"] = Recipe(builder, "ts", 17, "inline")
        recipes[f"{builder.__name__}_dyn"] = Recipe(builder, "dyn", 18, "inline")
    for name, held_out in export_held_out.BUILDERS.items():
        recipes[f"{name}_ts"] = Recipe(held_out, "ts", 17, "inline")
    return recipes


RECIPES = _recipes()


def folder() -> Path:
    """Folder of the exports inside the cache."""
    return zoo.cache() / "exports"


def path(name: str) -> Path:
    """Path that an export has once it is made."""
    return folder() / f"{name}.onnx"


def export(name: str) -> str:
    """Export one model in this process, check it against PyTorch, and return its line of the index."""
    import numpy as np
    import onnx
    import torch

    builder, form, opset, storage = RECIPES[name]
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    source = builder()
    arguments = tuple(source.feeds.values())
    target, temporary = path(name), path(f".{name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        expected = source.module(*arguments)
        common: dict[str, Any] = {
            "input_names": list(source.feeds),
            "output_names": source.outputs,
            "opset_version": opset,
        }
        if form == "ts":
            torch.onnx.export(source.module, arguments, str(temporary), dynamo=False, dynamic_axes=source.axes, **common)
        else:
            torch.onnx.export(
                source.module,
                arguments,
                str(temporary),
                dynamo=True,
                dynamic_shapes=source.dynamic_shapes(),
                external_data=False,
                optimize=False,
                verbose=False,
                **common,
            )
    if storage == "external":
        model = onnx.load(temporary)
        data = target.with_suffix(".onnx.data")
        data.unlink(missing_ok=True)
        onnx.save(model, temporary, save_as_external_data=True, location=data.name, size_threshold=1024)
    temporary.replace(target)
    feeds = {key: value.numpy() for key, value in source.feeds.items()}
    np.savez(target.with_suffix(".npz"), **feeds)
    difference = "unchecked"
    if storage != "unchecked":
        difference = _difference(target, feeds, expected if isinstance(expected, tuple) else (expected,))
    return index_line(target, difference)


def _difference(file: Path, feeds: dict[str, Any], expected: Sequence[Any]) -> str:
    """Largest absolute difference of ONNX Runtime's outputs to PyTorch's, or why there is none."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        results = session.run(None, feeds)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return f"ORT refuses: {str(error).splitlines()[0][:120]}"
    return f"{max(float(np.abs(a - b.numpy()).max()) for a, b in zip(results, expected, strict=True)):.2g}"


def index_line(file: Path, difference: str) -> str:
    """One line of the index: path, opset, nodes, nodes with subgraphs, MiB, difference."""
    found = zoo.stats(file)
    size = sum(part.stat().st_size for part in (file, file.with_suffix(".onnx.data")) if part.exists())
    opsets = ",".join(f"{domain or 'ai.onnx'}:{version}" for domain, version in sorted(found["opsets"].items()))
    return "\t".join([str(file), opsets, str(found["nodes"]), str(found["all_nodes"]), f"{size / 2**20:.1f}", difference])


def write_index(line: str) -> None:
    """Put a line into `<cache>/INDEX.txt`, instead of the line of the same path if there is one."""
    index = zoo.cache() / "INDEX.txt"
    lines = index.read_text().splitlines() if index.exists() else []
    key = line.split("\t")[0]
    kept = [old for old in lines if old.split("\t")[0] != key]
    zoo.write_atomically(index, ("\n".join(sorted([*kept, line])) + "\n").encode())


def main() -> int:
    """Run the command line; returns 1 when an export failed."""
    parser = argparse.ArgumentParser(description="Export real architectures from PyTorch to ONNX.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all when none is given")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--force", action="store_true", help="export again what is there")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(RECIPES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(RECIPES)}")
    wanted = options.names or list(RECIPES)
    if options.list:
        print("\n".join(wanted))
        return 0
    if options.in_process:
        write_index(export(wanted[0]))
        return 0
    failed = 0
    for name in wanted:
        if path(name).exists() and not options.force:
            continue
        started = time.monotonic()
        done = subprocess.run([sys.executable, __file__, "--in-process", name], capture_output=True, text=True)
        failed += done.returncode != 0
        last = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        print(
            name,
            "failed" if last else "done",
            f"{time.monotonic() - started:.0f} s",
            *(line[:200] for line in last),
            flush=True,
        )
        log = path(name).with_suffix(".log")
        if done.returncode:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(done.stdout + done.stderr)
        else:
            log.unlink(missing_ok=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
