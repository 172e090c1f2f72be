"""A language model with a key-value cache of fixed length on Core ML and TFLite: the tokens it chooses, its error, its size.

    python benchmarks/exports.py smollm2_cache_ts smollm2_4l_cache_ts     once, in the environment that it names
    python benchmarks/kv_cache.py                                         results/kv_cache.md
    python benchmarks/kv_cache.py smollm2_4l_cache_ts --tokens 16         one model, printed only

The original runs in ONNX Runtime with a cache that grows; what the targets make of it runs with buffers of a fixed length: Core ML
packages in the evaluator (on macOS: in Core ML), .tflite files in LiteRT. Everything starts from the same prompt and goes on with the most
probable token. Error: the greatest absolute difference of logits over the greatest absolute logit, the worst token.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for _folder in (HERE.parent, HERE):
    sys.path.insert(0, str(_folder))
import exports  # noqa: E402

RESULT = HERE / "results" / "kv_cache.md"
MODELS = ("smollm2_4l_cache_ts", "smollm2_4l_cache_dyn", "smollm2_cache_ts", "smollm2_cache_dyn")
LENGTH, PREFILL = 64, 32
QUESTION = "<|im_start|>user\nWhat is the capital of France, and what is it known for?<|im_end|>\n<|im_start|>assistant\n"
PROMPT = (1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 28, 284, 732, 314, 357, 1343, 327, 47, 2, 198, 1, 520, 9531, 198)
"""The tokens of `QUESTION`."""
Step = Callable[[Sequence[int], int], Any]


@dataclass(frozen=True)
class Variant:
    """One way to compile.

    Attributes:
        name: for the table.
        target: the target.
        options: its options.
        dims: sizes of dimensions.
    """

    name: str
    target: str
    options: Mapping[str, Any]
    dims: Mapping[str, int]


SINGLE = {"batch": 1, "sequence": 1}
VARIANTS = (
    Variant("Core ML iOS18, states", "coreml", {"kv_cache": LENGTH, "minimum_target": "iOS18", "states": "auto"}, SINGLE),
    Variant("Core ML iOS15", "coreml", {"kv_cache": LENGTH, "minimum_target": "iOS15"}, SINGLE),
    Variant(
        "TFLite, prefill and decode",
        "tflite",
        {"kv_cache": LENGTH, "signatures": {"prefill": {"sequence": PREFILL}, "decode": {"sequence": 1}}},
        {"batch": 1},
    ),
)


def original(path: Path) -> Step:
    """One step of the original in ONNX Runtime: new tokens and the number of those before to the logits of the last."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    past = {
        i.name: np.zeros([1, i.shape[1], 0, i.shape[3]], np.float32) for i in session.get_inputs() if i.name.startswith("past_key_values")
    }

    def step(tokens: Sequence[int], position: int) -> Any:
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, position + len(tokens)), np.int64),
            "position_ids": np.arange(position, position + len(tokens))[None],
        }
        results = dict(zip(outputs, session.run(None, {**feeds, **past}), strict=True))
        past.update({name: results[name.replace("past_key_values", "present")] for name in past})
        return results["logits"][0, -1]

    return step


def compiled(folder: Path, width: int, **session: Any) -> tuple[Step, dict[str, Any]]:
    """One step of a bundle that takes ``width`` tokens at a time, and its caches; fewer tokens are padded behind."""
    import numpy as np

    from edgec.runtime.bundle import load_bundle

    bundle = load_bundle(folder, **session)
    runner = bundle.session
    buffers = {s.name: np.zeros([int(n) for n in s.shape or ()], np.float32) for s in runner.signature.inputs if s.name.startswith("past")}

    def step(tokens: Sequence[int], position: int) -> Any:
        padded = [*tokens, *[0] * (width - len(tokens))]
        feeds = {
            "input_ids": np.array([padded], np.int64),
            "attention_mask": np.ones((1, LENGTH), np.int64),
            "position_ids": np.arange(position, position + width)[None],
            "position": np.array([position]),
        }
        results = runner.run({**feeds, **buffers})
        buffers.update({name: results[name.replace("past_key_values", "present")] for name in buffers})
        return results["logits"][0, len(tokens) - 1]

    return step, buffers


def greedy(prefill: Step, decode: Step, count: int, one_by_one: bool = False) -> tuple[list[int], list[Any], float]:
    """The most probable tokens behind the prompt, the logits that chose them, and the median of the seconds per token."""
    prompt = list(PROMPT)
    if one_by_one:
        for position, token in enumerate(prompt):
            logits = prefill([token], position)
    else:
        logits = prefill(prompt, 0)
    tokens, seen = [int(logits.argmax())], [logits]
    times = []
    for index in range(1, count):
        started = time.perf_counter()
        logits = decode([tokens[-1]], len(prompt) + index - 1)
        times.append(time.perf_counter() - started)
        tokens.append(int(logits.argmax()))
        seen.append(logits)
    return tokens, seen, statistics.median(times)


def measure(name: str, count: int) -> list[list[str]]:
    """The rows of one model."""
    import numpy as np

    import edgec

    path = exports.path(name)
    growing = original(path)
    expected, reference, seconds = greedy(growing, growing, count)
    rows = [[name, "original, ONNX Runtime", f"{count} of {count}", "", f"{path.stat().st_size / 1e6:.0f}", "", f"{1e3 * seconds:.0f}"]]
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            bundle = Path(folder) / "bundle"
            edgec.compile(path, output=bundle, target=variant.target, options=variant.options, dims=variant.dims)
            compiling = time.perf_counter() - started
            size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
            if variant.target == "tflite":
                first, buffers = compiled(bundle, PREFILL, signature="prefill")
                then, later = compiled(bundle, 1, signature="decode")

                def handed_over(tokens: Sequence[int], position: int, then: Step = then, later: Any = later, buffers: Any = buffers) -> Any:
                    later.update(buffers)
                    buffers.clear()
                    return then(tokens, position)

                tokens, logits, seconds = greedy(first, handed_over, count)
            else:
                step, _ = compiled(bundle, 1)
                tokens, logits, seconds = greedy(step, step, count, one_by_one=True)
        same = next((i for i, (a, b) in enumerate(zip(tokens, expected, strict=True)) if a != b), count)
        errors = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(logits[: same + 1], reference, strict=False)]
        rows.append(
            [
                name,
                variant.name,
                f"{same} of {count}",
                f"{max(errors):.2g}",
                f"{size / 1e6:.0f}",
                f"{compiling:.1f}",
                f"{1e3 * seconds:.0f}",
            ]
        )
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def report(rows: Sequence[Sequence[str]], count: int) -> str:
    """The table in Markdown."""
    lines = [
        "# Key-value caches of a fixed length",
        "",
        "    python benchmarks/kv_cache.py",
        "",
        f"Greedy decoding of {count} tokens behind the {len(PROMPT)} of the prompt {QUESTION!r}, buffers of {LENGTH} positions; TFLite "
        f"takes the prompt at once (padded to {PREFILL}), Core ML token by token. Same tokens: how many agree with the original from the "
        "first on. Error: greatest difference of logits over the greatest logit, the worst token. Core ML packages run in the evaluator: "
        "its times are not those of a device. States of Core ML hold float16.",
        "",
        "| model | variant | same tokens | error | size, MB | compile, s | ms/token |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def main() -> int:
    """Run the command line; writes the table when all models were measured."""
    parser = argparse.ArgumentParser(description="Greedy decoding with key-value caches of fixed length.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all when none is given")
    parser.add_argument("--tokens", type=int, default=24, help="at least 2")
    options = parser.parse_args()
    rows = [row for name in options.names or MODELS for row in measure(name, options.tokens)]
    text = report(rows, options.tokens)
    print(text)
    if not options.names:
        RESULT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
