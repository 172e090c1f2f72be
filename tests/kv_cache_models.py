"""Small decoders with a key-value cache, in the spellings of several exporters, and the loop that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, HIDDEN, HEADS, KV_HEADS, SIZE, LAYERS = 40, 24, 4, 2, 8, 2
SPELLINGS = ("compare", "triangle", "table", "positions", "tokens-first", "operator", "grouped")
LOW = -1e9


class Builder:
    """An ONNX graph under construction."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.random = np.random.default_rng(seed)

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Append a node; gives the name of its result, or the list of names."""
        names = [f"{op.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any) -> str:
        """A constant."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        """A vector of i64."""
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int) -> str:
        """A random matrix."""
        return self.constant((self.random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def size(self, value: str, axis: int) -> str:
        """A dimension as a scalar."""
        return self.add("Gather", self.add("Shape", value), self.constant(np.int64(axis)))

    def vector(self, *parts: str) -> str:
        """Scalars as a vector."""
        return self.add("Concat", *(self.add("Unsqueeze", p, self.ints(0)) for p in parts), axis=0)


def decoder(spelling: str, seed: int = 0) -> onnx.ModelProto:
    """A decoder of two layers; its inputs are those of exports from transformers, as far as the spelling has them."""
    b = Builder(seed)
    first_axis = 1 if spelling == "tokens-first" else 2
    tokens, past = b.size("input_ids", 1), b.size("past_key_values.0.key", first_axis)
    total = b.add("Add", past, tokens)
    embedding = b.weight(VOCABULARY, HIDDEN)
    x = b.add("Add", b.add("Gather", embedding, "input_ids"), b.add("Gather", b.weight(64, HIDDEN), _positions(b, spelling, past)))
    bias = "" if spelling in ("operator", "grouped") else _bias(b, spelling, tokens, past, total)
    outputs = []
    for layer in range(LAYERS):
        x, present = _layer(b, spelling, layer, x, bias, tokens, total)
        outputs += present
    logits = b.add("MatMul", x, b.add("Transpose", b.weight(VOCABULARY, HIDDEN), perm=[1, 0]))
    names = [f"present.{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    for source, name in zip([logits, *outputs], ["logits", *names], strict=True):
        b.nodes.append(helper.make_node("Identity", [source], [name]))
    cache = ["batch", "past", KV_HEADS, SIZE] if spelling == "tokens-first" else ["batch", KV_HEADS, "past", SIZE]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])]
    if spelling != "operator":
        inputs.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "total"]))
    if spelling != "positions":
        inputs.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["batch", "sequence"]))
    inputs += [helper.make_tensor_value_info(n.replace("present", "past_key_values"), TensorProto.FLOAT, cache) for n in names]
    results = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", VOCABULARY])]
    results += [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * 4) for n in names]
    graph = helper.make_graph(b.nodes, "decoder", inputs, results, b.initializers)
    opsets = [helper.make_opsetid("", 23 if spelling == "operator" else 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _positions(b: Builder, spelling: str, past: str) -> str:
    if spelling != "positions":
        return "position_ids"
    counted = b.add("Sub", b.add("CumSum", "attention_mask", b.constant(np.int64(1))), b.constant(np.int64(1)))
    clipped = b.add("Max", counted, b.constant(np.int64(0)))
    return b.add("Slice", clipped, b.add("Unsqueeze", past, b.ints(0)), b.ints(2**62), b.ints(1))


def _bias(b: Builder, spelling: str, tokens: str, past: str, total: str) -> str:
    """What is added to the scores: ``[batch, 1, sequence, total]``."""
    zero, one = b.constant(np.int64(0)), b.constant(np.int64(1))
    padding = b.add("Unsqueeze", b.add("Cast", "attention_mask", to=TensorProto.BOOL), b.ints(1, 2))
    if spelling == "triangle":
        ones = b.add("ConstantOfShape", b.vector(tokens, total), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))
        hidden = b.add("Trilu", ones, b.add("Add", past, one), upper=1)
        free = b.add("Equal", hidden, b.constant(np.float32(0)))
    elif spelling == "table":
        table = b.constant(np.tril(np.ones((64, 64), bool)))
        rows = b.add("Slice", table, b.vector(past), b.vector(total), b.ints(0))
        free = b.add("Slice", rows, b.ints(0), b.vector(total), b.ints(1))
    else:
        columns = b.add("Unsqueeze", b.add("Range", zero, total, one), b.ints(0))
        rows = b.add("Unsqueeze", b.add("Range", past, total, one), b.ints(1))
        free = b.add("LessOrEqual", columns, rows)
    both = b.add("And", free, padding)
    return b.add("Where", both, b.constant(np.float32(0)), b.constant(np.float32(LOW)))


def _heads(b: Builder, x: str, heads: int, turned: bool = True) -> str:
    split = b.add("Reshape", b.add("MatMul", x, b.weight(HIDDEN, heads * SIZE)), b.ints(0, 0, heads, SIZE))
    return b.add("Transpose", split, perm=[0, 2, 1, 3]) if turned else split


def _layer(b: Builder, spelling: str, layer: int, x: str, bias: str, tokens: str, total: str) -> tuple[str, list[str]]:
    past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
    if spelling in ("operator", "grouped"):
        projected = [b.add("MatMul", x, b.weight(HIDDEN, n * SIZE)) for n in (HEADS, KV_HEADS, KV_HEADS)]
        if spelling == "operator":
            mixed, *present = b.add("Attention", *projected, "", *past, outputs=3, is_causal=1, q_num_heads=HEADS, kv_num_heads=KV_HEADS)
        else:
            lengths = b.add("ReduceSum", "attention_mask", b.ints(1), keepdims=0)
            lengths = b.add("Cast", b.add("Sub", lengths, b.constant(np.int64(1))), to=TensorProto.INT32)
            whole = b.add("Cast", b.size("attention_mask", 1), to=TensorProto.INT32)
            mixed, *present = b.add(
                "GroupQueryAttention", *projected, *past, lengths, whole, outputs=3, domain="com.microsoft", num_heads=HEADS,
                kv_num_heads=KV_HEADS,
            )  # fmt: skip
        return b.add("Add", x, b.add("MatMul", mixed, b.weight(HEADS * SIZE, HIDDEN))), present
    query = _heads(b, x, HEADS)
    if spelling == "tokens-first":
        present = [b.add("Concat", p, _heads(b, x, KV_HEADS, turned=False), axis=1) for p in past]
        found = [b.add("Transpose", p, perm=[0, 2, 1, 3]) for p in present]
    else:
        found = present = [b.add("Concat", p, _heads(b, x, KV_HEADS), axis=-2) for p in past]
    keys, values = (_repeated(b, p) for p in found)
    scores = b.add("MatMul", query, b.add("Transpose", keys, perm=[0, 1, 3, 2]))
    scores = b.add("Add", b.add("Mul", scores, b.constant(np.float32(SIZE**-0.5))), bias)
    mixed = b.add("Transpose", b.add("MatMul", b.add("Softmax", scores, axis=-1), values), perm=[0, 2, 1, 3])
    mixed = b.add("Reshape", mixed, b.ints(0, 0, HEADS * SIZE))
    return b.add("Add", x, b.add("MatMul", mixed, b.weight(HEADS * SIZE, HIDDEN))), present


def _repeated(b: Builder, x: str) -> str:
    """Every head twice in a row."""
    times = HEADS // KV_HEADS
    sizes = [b.size(x, 0), b.constant(np.int64(KV_HEADS)), b.constant(np.int64(times)), b.size(x, 2), b.constant(np.int64(SIZE))]
    wide = b.add("Expand", b.add("Unsqueeze", x, b.ints(2)), b.vector(*sizes))
    return b.add("Reshape", wide, b.vector(sizes[0], b.constant(np.int64(HEADS)), sizes[3], sizes[4]))


# -- running --------------------------------------------------------------------------------------------------------------
Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def on_onnxruntime(model: onnx.ModelProto) -> Run:
    """The model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def growing(model: onnx.ModelProto, mask: Any = None) -> Callable[[Any, int], dict[str, Any]]:
    """Steps of the original: new tokens ``[batch, n]`` and the number of those before; the caches are kept inside."""
    run = on_onnxruntime(model)
    given = {i.name: [d.dim_value or d.dim_param for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    caches: dict[str, Any] = {}

    def step(tokens: Any, position: int) -> dict[str, Any]:
        batch, new = tokens.shape
        sizes = {"batch": batch, "past": 0}
        for name, shape in given.items():
            if name.startswith("past") and name not in caches:
                caches[name] = np.zeros([sizes.get(d, d) for d in shape], np.float32)
        results = run({**_feeds(given, tokens, position, _mask(mask, batch, position + new)), **caches})
        caches.update({name: results[name.replace("past_key_values", "present")] for name in caches})
        return dict(results)

    return step


def fixed(
    run: Run, specs: Mapping[str, Sequence[Any]], length: int, mask: Any = None, fill: Any = None
) -> Callable[[Any, int], dict[str, Any]]:
    """Likewise for a model with buffers, run by a function; ``specs`` are the shapes of its inputs."""
    buffers: dict[str, Any] = {}

    def step(tokens: Any, position: int) -> dict[str, Any]:
        batch = len(tokens)
        for name, shape in specs.items():
            if name.startswith("past") and name not in buffers:
                sizes = [batch if d == "batch" else int(d) for d in shape]
                buffers[name] = np.zeros(sizes, np.float32) if fill is None else fill(sizes).astype(np.float32)
        feeds = _feeds(specs, tokens, position, _mask(mask, batch, length))
        if "position" in specs:
            feeds["position"] = np.array([position])
        if "position" not in specs and "attention_mask" in specs:
            feeds["attention_mask"] = feeds["attention_mask"] * (np.arange(length) < position + tokens.shape[1])
        results = run({**feeds, **buffers})
        buffers.update({name: results[name.replace("past_key_values", "present")] for name in buffers})
        return dict(results)

    return step


def _mask(mask: Any, batch: int, columns: int) -> Any:
    whole = np.ones((batch, columns), np.int64)
    if mask is not None:
        whole[:, : mask.shape[1]] = mask[:, :columns]
    return whole


def _feeds(given: Mapping[str, Any], tokens: Any, position: int, mask: Any) -> dict[str, Any]:
    batch, new = tokens.shape
    positions = np.broadcast_to(np.arange(position, position + new), (batch, new)).astype(np.int64).copy()
    feeds = {"input_ids": tokens, "attention_mask": mask, "position_ids": positions}
    return {name: array for name, array in feeds.items() if name in given}


def greedy(step: Callable[[Any, int], dict[str, Any]], prompt: Sequence[int], count: int) -> tuple[list[int], list[Any]]:
    """The most probable tokens behind a prompt that is taken token by token, and the logits that chose them."""
    tokens, logits = list(prompt), []
    for position in range(len(prompt) + count - 1):
        found = step(np.array([[tokens[position]]], np.int64), position)["logits"][0, -1]
        if position >= len(prompt) - 1:
            logits.append(found)
            tokens.append(int(found.argmax()))
    return tokens[len(prompt) :], logits
