"""Worker of the conformance harness: runs one test case through one route and judges the outputs.

Started by ``conformance.py`` as a long-lived subprocess. It reads one JSON request per line from standard input and answers with one JSON
line on its original standard output; everything that libraries print goes to standard error. Files named on the command line register more
routes in ``conformance_routes.ROUTES``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conformance_compare import ANY, Mismatch, compare  # noqa: E402
from conformance_routes import ROUTES, Refused, Route, describe  # noqa: E402

REASON_LIMIT = 600
RANDOM = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())


@dataclass
class Case:
    """One case of the suite: a model, its data sets of (inputs, expected outputs), and the tolerances."""

    name: str
    kind: str
    model: bytes
    data_sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def judge(case: Case, function: Route) -> tuple[str, str]:
    """Run one case; returns (status, reason) with status pass, refused, wrong or error."""
    inputs = onnx.load_from_string(case.model).graph
    initialised = {tensor.name for tensor in inputs.initializer}
    names = [value.name for value in inputs.input if value.name not in initialised]
    try:
        for values, expected in case.data_sets:
            with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
                feeds = dict(zip(names, values, strict=False))
                drawn = any(_draws(node, feeds) for node in inputs.node)
                compare(expected, function(case.model, feeds, Path(folder)), case.rtol, ANY if drawn else case.atol)
    except Refused as error:
        return "refused", str(error)
    except Mismatch as error:
        return "wrong", str(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return "error", f"{describe(error)} ({Path(frame.filename).name}:{frame.lineno})"
    return "pass", ""


def _draws(node: onnx.NodeProto, feeds: dict[str, Any]) -> bool:
    """Whether a node draws random numbers: no runtime's are those of the suite."""
    if node.op_type == "Dropout" and len(node.input) > 2:
        ratio, training = (feeds.get(name) for name in node.input[1:3])
        return training is not None and bool(training) and (ratio is None or float(ratio) != 0)
    return node.op_type in RANDOM and not node.domain


def main() -> None:
    """Serve requests ``{"case": path, "route": name}`` until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for plugin in sys.argv[1:]:
        spec = importlib.util.spec_from_file_location(Path(plugin).stem, plugin)
        if spec is None or spec.loader is None:
            raise SystemExit(f"cannot load routes from {plugin}")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for line in sys.stdin:
        request = json.loads(line)
        case = Case(**pickle.loads(Path(request["case"]).read_bytes()))
        started = time.perf_counter()
        status, reason = judge(case, ROUTES[request["route"]])
        seconds = round(time.perf_counter() - started, 4)
        answer = {"status": status, "reason": reason[:REASON_LIMIT], "seconds": seconds}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
