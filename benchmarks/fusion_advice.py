"""Whether the cost model's advice on fusion has the right sign on this machine.

Every case is a small model twice: as separate operators, and with one operator in their place. ONNX Runtime runs both without
optimisation on one thread; the cost model prices both. Advice is right when it prefers the version that is measurably faster. Cases whose
times differ by less than the noise are not judged.

    python benchmarks/fusion_advice.py [--target host.toml] [--only NAME] [--again]

Results are kept in benchmarks/results/fusion_advice.json case by case, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.costmodel.analysis.subject import open_target
from edgec.costmodel.ort_graph import optimized_by_ort
from edgec.costmodel.predict import Predictor
from edgec.costmodel.roofline import Setting

RESULTS = Path(__file__).parent / "results" / "fusion_advice.json"
TABLE = RESULTS.with_suffix(".md")
NOISE = 0.05  # relative difference below which a case is a tie
GOAL = 0.9
ROUNDS, BUDGET = 60, 0.4  # of alternating measurements, seconds per case and version
MICROSOFT = "com.microsoft"


class Draft:
    """An ONNX model that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.rng = np.random.default_rng(1)

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append((name, shape))
        return name

    def weight(self, *shape: int, value: float | None = None) -> str:
        data = np.full(shape, value, np.float32) if value is not None else self.rng.normal(size=shape).astype(np.float32) * 0.1
        return self.constant(data)

    def positive(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def constant(self, data: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(data), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, op: str, *operands: str, domain: str = "", **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(operands), [name], name=f"{op}_{len(self.nodes)}", domain=domain, **attributes))
        return name

    def save(self, result: str, path: Path) -> None:
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in self.inputs]
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "case", inputs, [output], self.weights)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


Body = Callable[[Draft, bool], str]
"""Adds a case to a draft, fused or not, and gives its result."""


def conv_relu(channels: int, size: int, kernel: int, groups: int = 1) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, w = d.input(1, channels, size, size), d.weight(channels, channels // groups, kernel, kernel)
        more = {"pads": [kernel // 2] * 4, "group": groups}
        if fused:
            return d.add("FusedConv", x, w, domain=MICROSOFT, activation="Relu", **more)
        return d.add("Relu", d.add("Conv", x, w, **more))

    return body


def conv_norm(channels: int, size: int, kernel: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, w = d.input(1, channels, size, size), d.weight(channels, channels, kernel, kernel)
        y = d.add("Conv", x, w, d.weight(channels), pads=[kernel // 2] * 4)
        if fused:
            return y
        return d.add("BatchNormalization", y, *(d.positive(channels) for _ in range(4)))

    return body


def bias(rows: int, width: int, outputs: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, w, b = d.input(rows, width), d.weight(width, outputs), d.weight(outputs)
        return d.add("Gemm", x, w, b) if fused else d.add("Add", d.add("MatMul", x, w), b)

    return body


def gemm_relu(rows: int, width: int, outputs: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, w, b = d.input(rows, width), d.weight(width, outputs), d.weight(outputs)
        if fused:
            return d.add("FusedGemm", x, w, b, domain=MICROSOFT, activation="Relu")
        return d.add("Relu", d.add("Gemm", x, w, b))

    return body


def gelu(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x = d.input(rows, width)
        if fused:
            return d.add("Gelu", x)
        inner = d.add("Add", d.add("Erf", d.add("Div", x, d.weight(value=1.4142135))), d.weight(value=1.0))
        return d.add("Mul", d.add("Mul", x, inner), d.weight(value=0.5))

    return body


def bias_gelu(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, b = d.input(rows, width), d.weight(width)
        return d.add("BiasGelu", x, b, domain=MICROSOFT) if fused else d.add("Gelu", d.add("Add", x, b), domain=MICROSOFT)

    return body


def layer_norm(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, scale, shift = d.input(rows, width), d.positive(width), d.weight(width)
        if fused:
            return d.add("LayerNormalization", x, scale, shift, axis=-1)
        axes = d.constant(np.array([-1], np.int64))
        centred = d.add("Sub", x, d.add("ReduceMean", x, axes))
        variance = d.add("ReduceMean", d.add("Mul", centred, centred), axes)
        scaled = d.add("Div", centred, d.add("Sqrt", d.add("Add", variance, d.weight(value=1e-5))))
        return d.add("Add", d.add("Mul", scaled, scale), shift)

    return body


def skip_norm(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, y, scale, shift = d.input(1, rows, width), d.input(1, rows, width), d.positive(width), d.weight(width)
        if fused:
            return d.add("SkipLayerNormalization", x, y, scale, shift, domain=MICROSOFT)
        return d.add("LayerNormalization", d.add("Add", x, y), scale, shift, axis=-1)

    return body


def softmax(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x = d.input(rows, width)
        if fused:
            return d.add("Softmax", x, axis=-1)
        axes = d.constant(np.array([-1], np.int64))
        powers = d.add("Exp", d.add("Sub", x, d.add("ReduceMax", x, axes)))
        return d.add("Div", powers, d.add("ReduceSum", powers, axes))

    return body


def attention(heads: int, length: int, size: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        q, k, v = (d.input(1, heads, length, size) for _ in range(3))
        if fused:
            return d.add("Attention", q, k, v)
        scores = d.add("MatMul", d.add("Mul", q, d.weight(value=size**-0.5)), d.add("Transpose", k, perm=[0, 1, 3, 2]))
        return d.add("MatMul", d.add("Softmax", scores, axis=-1), v)

    return body


def scaled_product(rows: int, width: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x, y = d.input(rows, width), d.input(rows, width)
        if fused:
            return d.add("FusedMatMul", x, y, domain=MICROSOFT, alpha=0.125, transB=1)
        return d.add("Mul", d.add("MatMul", x, d.add("Transpose", y, perm=[1, 0])), d.weight(value=0.125))

    return body


def hard_swish(elements: int) -> Body:
    def body(d: Draft, fused: bool) -> str:
        x = d.input(1, elements)
        if fused:
            return d.add("HardSwish", x)
        return d.add("Mul", x, d.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))

    return body


def cases() -> Iterator[tuple[str, Body]]:
    """All cases by name."""
    for channels, size, kernel in ((16, 56, 3), (64, 28, 3), (64, 56, 1), (128, 14, 1), (8, 112, 1)):
        yield f"conv-relu-{channels}x{size}-k{kernel}", conv_relu(channels, size, kernel)
        yield f"conv-norm-{channels}x{size}-k{kernel}", conv_norm(channels, size, kernel)
    for channels, size in ((32, 56), (144, 28)):
        yield f"depthwise-relu-{channels}x{size}", conv_relu(channels, size, 3, channels)
    for rows, width, outputs in ((1, 256, 256), (16, 384, 1536), (128, 384, 384), (512, 64, 512)):
        yield f"bias-{rows}x{width}x{outputs}", bias(rows, width, outputs)
        yield f"gemm-relu-{rows}x{width}x{outputs}", gemm_relu(rows, width, outputs)
    for rows, width in ((1, 256), (16, 1536), (128, 1536), (512, 3072)):
        yield f"gelu-{rows}x{width}", gelu(rows, width)
        yield f"bias-gelu-{rows}x{width}", bias_gelu(rows, width)
    for rows, width in ((1, 384), (16, 384), (128, 768), (1024, 768)):
        yield f"layer-norm-{rows}x{width}", layer_norm(rows, width)
        yield f"skip-norm-{rows}x{width}", skip_norm(rows, width)
        yield f"softmax-{rows}x{width}", softmax(rows, width)
    for heads, length, size in ((4, 16, 32), (8, 64, 64), (12, 256, 64)):
        yield f"attention-{heads}x{length}x{size}", attention(heads, length, size)
    for rows, width in ((32, 64), (256, 64), (512, 256)):
        yield f"scaled-product-{rows}x{width}", scaled_product(rows, width)
    for elements in (1000, 100_000, 4_000_000):
        yield f"hard-swish-{elements}", hard_swish(elements)


@dataclass(frozen=True)
class Version:
    """One version of a case: a session with its feeds."""

    session: Any
    feeds: dict[str, Any]

    def seconds(self) -> float:
        """Processor time of this thread for one run: other processes do not count."""
        began = time.thread_time()
        self.session.run(None, self.feeds)
        return time.thread_time() - began


def open_version(path: Path, draft: Draft) -> Version:
    """A session without optimisation on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in draft.inputs}
    return Version(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), feeds)


def measure(body: Body, target: str) -> dict[str, float]:
    """Measured and predicted seconds of both versions; the measurements alternate, and the least counts."""
    device = open_target(target)
    with tempfile.TemporaryDirectory() as folder:
        versions: list[Version] = []
        predicted: list[float] = []
        for fused in (False, True):
            draft = Draft()
            path = Path(folder) / f"{fused}.onnx"
            draft.save(body(draft, fused), path)
            predictor = Predictor(optimized_by_ort(path, level="none"), device, setting=Setting(units=1))
            predicted.append(predictor.predict().seconds[1])
            versions.append(open_version(path, draft))
        best = [float("inf"), float("inf")]
        for version in versions:
            version.seconds()
        began = time.perf_counter()
        for round_ in range(ROUNDS):
            for i in (0, 1) if round_ % 2 else (1, 0):
                best[i] = min(best[i], versions[i].seconds())
            if round_ > 8 and time.perf_counter() - began > 2 * BUDGET:
                break
    return {"split": best[0], "fused": best[1], "predicted_split": predicted[0], "predicted_fused": predicted[1]}


def verdict(found: dict[str, float]) -> str:
    """``right``, ``wrong`` or ``tie``."""
    measured = 1 - found["fused"] / found["split"]
    expected = 1 - found["predicted_fused"] / found["predicted_split"]
    if abs(measured) < NOISE:
        return "tie"
    return "right" if measured * expected > 0 else "wrong"


def report(found: dict[str, dict[str, float]], target: str) -> str:
    """The table as Markdown."""
    judged = [verdict(one) for one in found.values()]
    right, wrong = judged.count("right"), judged.count("wrong")
    share = right / (right + wrong) if right + wrong else 0.0
    lines = [
        "# The sign of fusion advice",
        "",
        f"`benchmarks/fusion_advice.py` writes this table. Priced on {Path(target).name}. {right} of {right + wrong} right "
        f"({share:.0%}, goal {GOAL:.0%}), {judged.count('tie')} ties (less than {NOISE:.0%} apart).",
        "",
        "| case | split, us | fused, us | measured gain | predicted gain | advice |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        measured, expected = (1 - one[f"{p}fused"] / one[f"{p}split"] for p in ("", "predicted_"))
        lines.append(
            f"| {name} | {one['split'] * 1e6:.1f} | {one['fused'] * 1e6:.1f} | {measured:+.0%} | {expected:+.0%} | {verdict(one)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what has not been measured; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="x86-avx2", help="a target, or a file that edgec calibrate wrote")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--again", action="store_true", help="measure everything again")
    arguments = parser.parse_args()
    state = json.loads(RESULTS.read_text()) if RESULTS.is_file() and not arguments.again else {}
    if state.get("target") != Path(arguments.target).name:
        state = {"target": Path(arguments.target).name, "cases": {}}
    for name, body in cases():
        if arguments.only in name and name not in state["cases"]:
            state["cases"][name] = measure(body, arguments.target)
            RESULTS.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    order = [name for name, _ in cases() if name in state["cases"]]
    text = report({name: state["cases"][name] for name in order}, arguments.target)
    print(text)
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
