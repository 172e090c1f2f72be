"""A pass and a rewrite rule of one's own, in a module outside of edgec.

The rule: a class is as well picked from logits as from probabilities, so a Softmax that only feeds an ArgMax along the same axis goes.

    python examples/custom_pass.py [OUTPUT_FOLDER]

writes a small model and runs the commands that a user would:

    edgec optimize MODEL -o OUT.onnx --plugin examples/custom_pass.py --passes default,pick-from-logits
    edgec explain-rule argmax-of-softmax MODEL --plugin examples/custom_pass.py
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgec.ir.graph import Graph
from edgec.ir.ops.reduction import ArgMax
from edgec.ir.ops.softmax import Softmax
from edgec.passes.base import Change
from edgec.passes.context import Context
from edgec.passes.driver import RulePass
from edgec.passes.match import Match
from edgec.passes.pattern import P
from edgec.passes.rewriter import Decline, Result, Rewriter, rewrites

GROUP = "pick-from-logits"


@rewrites(P(ArgMax, "argmax")(P(Softmax, "softmax")("x")), name="argmax-of-softmax", group=GROUP)
def argmax_of_softmax(m: Match, b: Rewriter) -> Result:
    """argmax(softmax(x)) = argmax(x), but for ties that only the rounding of the probabilities makes."""
    rank = m["x"].rank
    if rank is None:
        return Decline("the rank is not known, so that the axes cannot be compared", m.node("argmax"))
    normalised, searched = m.op("softmax").axis % rank, m.op("argmax").axis % rank
    if normalised != searched:
        return Decline(f"the softmax runs along axis {normalised}, the search along axis {searched}", m.node("softmax"))
    return b.add(m.op("argmax"), m["x"])


@dataclass(frozen=True)
class PickFromLogits(RulePass):
    """Search for the greatest logit instead of the greatest probability."""

    name: ClassVar[str] = "pick-from-logits"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)

    def run(self, graph: Graph, context: Context) -> Change:
        change = super().run(graph, context)
        if change.modified:
            context.note(self.name, "classes are picked from logits: ties may be resolved differently")
        return change


def write_model(path: Path) -> None:
    """Write a classifier with two heads: one that the rule rewrites and one that it must leave alone."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.random.default_rng(1).normal(size=(16, 10)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], ["p"], name="over_classes", axis=-1),
        helper.make_node("ArgMax", ["p"], ["label"], name="pick_class", axis=1, keepdims=0),
        helper.make_node("Softmax", ["logits"], ["q"], name="over_samples", axis=0),
        helper.make_node("ArgMax", ["q"], ["odd"], name="pick_other", axis=1, keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in ("label", "odd")]
    graph = helper.make_graph(nodes, "two_heads", [x], outputs, [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def main(output: Path) -> int:
    """Run the commands and show what they print."""
    output.mkdir(parents=True, exist_ok=True)
    path, plugin = output / "two_heads.onnx", str(Path(__file__))
    write_model(path)
    result = output / "picked.onnx"
    commands = [
        ["optimize", path, "-o", result, "--plugin", plugin, "--passes", "default,pick-from-logits", "--check-each-pass"],
        ["explain-rule", "argmax-of-softmax", path, "--plugin", plugin],
        ["verify", path, result],
    ]
    for command in commands:
        words = [str(word) for word in command]
        print(f"$ edgec {' '.join(words)}", flush=True)
        status = subprocess.run([sys.executable, "-m", "edgec", *words], check=False).returncode
        print(flush=True)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/custom_pass")))
