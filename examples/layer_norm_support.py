"""Layer normalisation on Core ML, TensorRT and NNAPI: what is often said, and what the capability matrices know.

    python examples/layer_norm_support.py OUTPUT_FOLDER

- "Core ML has no layer normalisation, it has to be decomposed." MIL has had `layer_norm` since iOS15. A model compiled for iOS15 holds
  one operator for each normalisation, also where the source spells the formula out.
- "TensorRT 8 has it natively." Only the last minor versions do: INormalizationLayer came with 8.6; before that, reductions and pointwise
  layers (or a plugin) take its place. The parser of the installed library is asked what it makes of the operator.
- "NNAPI falls back." NNAPI has no such operation, and is itself deprecated since Android 15: LiteRT takes its place.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.ir.dtypes import DType
from edgec.lowering.documented import DOCUMENTED
from edgec.lowering.registry import backend
from edgec.lowering.support import Support, query

OP = "LayerNormalization"
WIDTH = 64


def model(nodes: Sequence[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """A model from x to y with the parameters s and b of the normalisation."""
    rng = np.random.default_rng(0)
    values = {"s": rng.standard_normal(WIDTH, np.float32), "b": rng.standard_normal(WIDTH, np.float32), **constants}
    read = {name for node in nodes for name in node.input}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 8, WIDTH]) for name in "xy")
    initializers = [numpy_helper.from_array(array, name) for name, array in values.items() if name in read]
    graph = helper.make_graph(list(nodes), "layer_norm", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def models() -> dict[str, onnx.ModelProto]:
    """One operator, and the formula spelled out as exporters did before there was one."""
    n = helper.make_node
    formula = [n("ReduceMean", ["x", "axes"], ["m"]), n("Sub", ["x", "m"], ["d"]), n("Pow", ["d", "two"], ["q"])]
    formula += [n("ReduceMean", ["q", "axes"], ["v"]), n("Add", ["v", "e"], ["w"]), n("Sqrt", ["w"], ["r"]), n("Div", ["d", "r"], ["o"])]
    formula += [n("Mul", ["o", "s"], ["p"]), n("Add", ["p", "b"], ["y"])]
    constants = {"axes": np.array([-1]), "two": np.array(2, np.float32), "e": np.array(1e-5, np.float32)}
    return {"one operator": model([n(OP, ["x", "s", "b"], ["y"])]), "spelled out": model(formula, **constants)}


def show(target: str, rows: Sequence[Support], versions: Sequence[str]) -> list[str]:
    """Print the rows of a matrix with their evidence, then the levels at some versions, which are returned."""
    print(target)
    for row in rows:
        if row.name == OP and (row.dtypes is None or DType.FLOAT in row.dtypes):
            print(f"    {row.level:10s} {row.since} to {row.until or 'now'} [{row.kind}] {row.evidence}")
    levels = [next(level for _, level in query(rows, OP, DType.FLOAT, version)) for version in versions]
    print("    float32: " + ", ".join(f"{version} {level}" for version, level in zip(versions, levels, strict=True)))
    return levels


def operators(package: Path) -> Counter[str]:
    """The operators of a package by type, without constants and the names of outputs."""
    import coremltools

    spec: Any = coremltools.utils.load_spec(str(package))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return Counter(op.type for op in block.operations if op.type not in ("const", "identity"))


def on_core_ml(folder: Path) -> bool:
    """Compile for iOS15 and count; True when each model holds one layer_norm and gives the original's results."""
    holds = True
    x = np.random.default_rng(1).standard_normal((2, 8, WIDTH), np.float32)
    for name, proto in models().items():
        source = folder / f"{name.replace(' ', '-')}.onnx"
        onnx.save(proto, source)
        bundle = edgec.compile(source, target="coreml", output=folder / source.stem, options={"minimum_target": "iOS15"})
        expected = edgec.compile(source, target="ort", output=folder / f"{source.stem}-ort").run({"x": x})["y"]
        error = float(np.abs(bundle.run({"x": x})["y"] - expected).max())
        kinds = operators(bundle.folder / "model.mlpackage")
        print(f"    {name} for iOS15: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + f"; off by {error:.1e}")
        holds = holds and kinds == {"layer_norm": 1} and error < 1e-5
    return holds


def on_tensorrt() -> bool:
    """Ask the parser what layers it makes of the operator; True when one of them is a normalisation, or without the library."""
    from edgec.lowering.tensorrt.engine import Parsed, layers, parse
    from edgec.lowering.tensorrt.sdk import load, missing

    absent = missing()
    if absent is not None:
        print(f"    the parser is not asked: {absent}")
        return True
    parsed = parse(load(), models()["one operator"].SerializeToString())
    if not isinstance(parsed, Parsed):
        print(f"    the parser refuses: {parsed[0].reason}")
        return False
    kinds = Counter(kind for kind, _ in layers(parsed))
    print(f"    {backend('tensorrt').version()} parses it into: " + ", ".join(f"{n} {kind.lower()}" for kind, n in sorted(kinds.items())))
    return any(kind.startswith("NORMALIZATION") for kind in kinds)


def main(folder: Path) -> int:
    """Print rows and proofs; the status is 1 when one is not what the text above says."""
    folder.mkdir(parents=True, exist_ok=True)
    native = show("Core ML", backend("coreml").matrix, ["iOS15", "iOS18"]) == ["native", "native"]
    compiled = on_core_ml(folder)
    versioned = show("TensorRT", backend("tensorrt").matrix, ["8.5", "8.6", "10.0"]) == ["decomposed", "native", "native"]
    parsed = on_tensorrt()
    retired = show("NNAPI (by Android version)", DOCUMENTED["nnapi"], ["14", "15"]) == ["none", "none"]
    return 0 if native and compiled and versioned and parsed and retired else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "layer-norm-support")))
