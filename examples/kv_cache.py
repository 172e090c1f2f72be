"""A decoder with a key-value cache on Core ML and TFLite: buffers of a fixed length in place of a cache that grows.

    python examples/kv_cache.py [OUTPUT_FOLDER]

The model is a decoder of one layer with random weights, exported with a cache: `past_key` and `past_value` go in, `present_key` and
`present_value` come out one position longer for every token. Compiled with ``kv_cache=32`` the caches are buffers of 32 positions and a new
input, `position`, says how many of them are filled. The targets choose the tokens that the original chooses in ONNX Runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import edgec
from edgec.runtime.bundle import load_bundle

VOCABULARY, WIDTH, LENGTH, PREFILL = 50, 16, 32, 8
PROMPT, COUNT = [7, 23, 41], 12
Step = Callable[[list[int], int], Any]


def decoder() -> onnx.ModelProto:
    """One layer of causal attention with one head, between an embedding and a projection to the vocabulary."""
    random = np.random.default_rng(1)
    shapes = {"embedding": (VOCABULARY, WIDTH), "head": (WIDTH, VOCABULARY), "places": (64, WIDTH)}
    shapes |= {name: (WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
    weights = {name: random.standard_normal(shape) / np.sqrt(WIDTH) for name, shape in shapes.items()}
    constants: dict[str, Any] = {name: array.astype(np.float32) for name, array in weights.items()}
    constants |= {"zero": np.int64(0), "one": np.int64(1), "at_1": np.array([1]), "low": np.float32(-1e9), "none": np.float32(0)}
    graph = onnx.parser.parse_graph(
        """decoder (int64[batch, sequence] input_ids, float[batch, past, 16] past_key, float[batch, past, 16] past_value)
            => (float[batch, sequence, 50] logits, float[batch, total, 16] present_key, float[batch, total, 16] present_value) {
            ids_shape = Shape (input_ids)
            past_shape = Shape (past_key)
            sequence = Gather (ids_shape, one)
            past = Gather (past_shape, one)
            total = Add (past, sequence)
            rows = Range (past, total, one)
            columns = Range (zero, total, one)
            row = Unsqueeze (rows, at_1)
            seen = LessOrEqual (columns, row)
            bias = Where (seen, none, low)
            tokens = Gather (embedding, input_ids)
            placed = Gather (places, rows)
            x = Add (tokens, placed)
            q = MatMul (x, query)
            k = MatMul (x, key)
            v = MatMul (x, value)
            present_key = Concat <axis = 1> (past_key, k)
            present_value = Concat <axis = 1> (past_value, v)
            turned = Transpose <perm = [0, 2, 1]> (present_key)
            products = MatMul (q, turned)
            scores = Add (products, bias)
            shares = Softmax <axis = -1> (scores)
            mixed = MatMul (shares, present_value)
            projected = MatMul (mixed, out)
            y = Add (x, projected)
            logits = MatMul (y, head)
        }"""
    )
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def generate(prefill: Step, decode: Step) -> list[int]:
    """The most probable tokens behind the prompt."""
    logits = prefill(PROMPT, 0)
    tokens = [int(logits[len(PROMPT) - 1].argmax())]
    while len(tokens) < COUNT:
        logits = decode([tokens[-1]], len(PROMPT) + len(tokens) - 1)
        tokens.append(int(logits[0].argmax()))
    return tokens


def original(path: Path) -> Step:
    """The model in ONNX Runtime; its cache grows."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cache = {name: np.zeros((1, 0, WIDTH), np.float32) for name in ("past_key", "past_value")}

    def step(tokens: list[int], position: int) -> Any:
        logits, cache["past_key"], cache["past_value"] = session.run(None, {"input_ids": np.array([tokens]), **cache})
        return logits[0]

    return step


def on_tflite(path: Path, folder: Path) -> tuple[Step, Step]:
    """Two signatures in one file: the prompt at once, padded behind, then one token at a time."""
    signatures = {"prefill": {"sequence": PREFILL}, "decode": {"sequence": 1}}
    edgec.compile(path, target="tflite", output=folder, dims={"batch": 1}, options={"kv_cache": LENGTH, "signatures": signatures})
    sessions = {width: load_bundle(folder, signature=key) for key, width in (("prefill", PREFILL), ("decode", 1))}
    cache = {name: np.zeros((1, LENGTH, WIDTH), np.float32) for name in ("past_key", "past_value")}

    def step(tokens: list[int], position: int, width: int) -> Any:
        padded = np.array([tokens + [0] * (width - len(tokens))])
        results = sessions[width].run({"input_ids": padded, "position": np.array([position]), **cache})
        cache.update(past_key=results["present_key"], past_value=results["present_value"])
        return results["logits"][0]

    return lambda tokens, position: step(tokens, position, PREFILL), lambda tokens, position: step(tokens, position, 1)


def on_coreml(path: Path, folder: Path) -> Step:
    """The buffers are states of the program; off macOS a package is evaluated operator by operator."""
    options = {"kv_cache": LENGTH, "minimum_target": "iOS18", "states": "auto"}
    bundle = edgec.compile(path, target="coreml", output=folder, dims={"batch": 1, "sequence": 1}, options=options)

    def step(tokens: list[int], position: int) -> Any:
        feeds = [{"input_ids": np.array([[token]]), "position": np.array([position + i])} for i, token in enumerate(tokens)]
        return np.concatenate([bundle.run(one)["logits"][0] for one in feeds])

    return step


def main() -> int:
    """Compile and decode; 1 when a target chooses other tokens."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "kv_cache_example")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "decoder.onnx"
    onnx.save(decoder(), path)
    growing = original(path)
    chosen = {"onnxruntime": generate(growing, growing)}
    if find_spec("ai_edge_litert") is not None:
        chosen["tflite"] = generate(*on_tflite(path, folder / "tflite"))
    if find_spec("coremltools") is not None:
        step = on_coreml(path, folder / "coreml")
        chosen["coreml"] = generate(step, step)
    for name, tokens in chosen.items():
        print(f"{name:12} {' '.join(map(str, tokens))}")
    return int(any(tokens != chosen["onnxruntime"] for tokens in chosen.values()))


if __name__ == "__main__":
    sys.exit(main())
