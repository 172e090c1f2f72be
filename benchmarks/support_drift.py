"""Do the capability matrices still tell the truth about the installed runtimes?

Every case of the ONNX backend suite that is a single node is asked about three times: what the matrix row says for its operator and
element type, what the target's verdict on the node is, and what happens when the node is compiled and run (in a process of its own, by
the routes of ``conformance_routes.py``). Where the three disagree the matrix has drifted:

    refused   the verdict says that it runs, and compiling it is refused
    wrong     it compiles and gives another result (while ONNX Runtime gives the expected one), or fails or crashes when it runs
    runs      the verdict is ``none``, nothing of the ladder helps, and it compiles and gives the right result
    row       the row says ``none`` and the verdict that it runs, or an unconditional row says that it runs and the verdict is ``none``
    version   no row of the operator covers the installed version
    code      a verdict ``none`` without a reason code

    python benchmarks/support_drift.py --target openvino --sample 60
    python benchmarks/support_drift.py --target coreml --stored           after a run of conformance.py on edgec-coreml-bound
    python benchmarks/support_drift.py --target ort,tflite --op Resize --json drift.json

The exit status is 1 when anything has drifted.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import conformance  # noqa: E402
import conformance_binding  # noqa: E402
import conformance_worker  # noqa: E402

KINDS = ("refused", "wrong", "runs", "row", "version", "code")


@dataclass(frozen=True)
class Probe:
    """One single-node case of the suite, asked about on one target.

    Attributes:
        case: its name in the suite.
        op: the operator.
        dtype: element type of the first operand.
        row: level that the matrix states for operator and element type at the installed version; empty without a row.
        stated: level of the target's verdict on the node; ``code`` and ``reason`` likewise.
        observed: ``pass``, ``refused``, ``wrong``, ``error`` or ``crash``; ``detail`` says more.
        drift: what disagrees, of `KINDS`.
    """

    case: str
    op: str
    dtype: str
    row: str
    stated: str
    code: str
    reason: str
    observed: str
    detail: str
    drift: tuple[str, ...]


def cases(cache: Path | None) -> dict[str, conformance_worker.Case]:
    """The node cases of the suite by name: from the harness's cache where there is one, else made anew."""
    if cache is not None:
        found = conformance.prepare_cases(cache).values()
        loaded = (conformance_worker.Case(**pickle.loads(path.read_bytes())) for path in found)
        return {case.name: case for case in loaded if case.kind == "node"}
    made = (conformance_worker.Case(**facts) for facts in conformance._suite_cases() if facts["kind"] == "node")
    return {case.name: case for case in made}


def single_node(case: conformance_worker.Case) -> Any:
    """The node of a case, shapes and the like bound as constants; None when the case has several nodes or cannot be read."""
    import onnx

    import edgec
    from edgec.ir.diagnostics import Diagnostic

    names = [value.name for value in onnx.load_from_string(case.model).graph.input]
    model, _ = conformance_binding.with_bound_parameters(case.model, dict(zip(names, case.data_sets[0][0], strict=False)))
    with tempfile.TemporaryDirectory(prefix="drift-") as folder:
        path = Path(folder) / "case.onnx"
        path.write_bytes(model)
        try:
            graph = edgec.load(path).graph
        except Diagnostic:
            return None
        nodes = list(graph.walk())
    return nodes[0] if len(nodes) == 1 else None


def sample(names: Sequence[str], operators: dict[str, str], count: int, seed: int) -> list[str]:
    """A sample of cases: drawn operator by operator in turns, so that rare operators are not lost among the variants of others."""
    rng = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(operators[name], []).append(name)
    for group in groups.values():
        rng.shuffle(group)
    order = sorted(groups)
    rng.shuffle(order)
    chosen: list[str] = []
    while len(chosen) < min(count, len(names)):
        for operator in order:
            if groups[operator] and len(chosen) < count:
                chosen.append(groups[operator].pop())
    return sorted(chosen)


def probe(
    target: str,
    chosen: Iterable[tuple[conformance_worker.Case, Any]],
    timeout: float,
    stored: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Probe]:
    """Ask matrix, verdict and runtime of a target about cases with their nodes; outcomes that are stored are not found out again."""
    from edgec.lowering.registry import backend

    runner = backend(target)
    version = runner.rows_version
    matrix = list(runner.matrix)
    worker = conformance.Worker(f"edgec-{target}-bound", timeout, [])
    reference = conformance.Worker("ort-bound", timeout, [])
    with tempfile.TemporaryDirectory(prefix="drift-") as folder:
        try:
            for case, node in chosen:
                path = Path(folder) / "case.pkl"
                path.write_bytes(pickle.dumps(asdict(case), protocol=5))
                known = (stored or {}).get(case.name)
                record = dict(known) if known is not None else worker.judge(path)
                if record["status"] == "wrong" and reference.judge(path)["status"] == "wrong":
                    record["status"] = "pass"  # the expected values are closer than any runtime gets
                yield _compared(case.name, node, matrix, version, runner.support(node), record, runner)
        finally:
            for process in (worker, reference):
                process.close()
                process.log.close()


def _compared(name: str, node: Any, matrix: list[Any], version: str, verdict: Any, record: dict[str, Any], runner: Any = None) -> Probe:
    from edgec.lowering.support import query

    operator = node.op.qualified_name
    first = next((v.dtype for v in node.inputs if v is not None and v.dtype is not None), None)
    rows = [row for row in matrix if row.name == operator]
    answers = list(query(rows, operator, first, version))
    row = min((level for _, level in answers), key=("native", "partial", "decomposed", "none").index, default="")
    conditional = any(found.when is not None for found, _ in answers)
    observed = record["status"]
    drift = []
    idle = _without_elements(node)
    if verdict.runs and observed == "refused" and not idle and not (_crosses(node) and "cannot take the model" in record["reason"]):
        drift.append("refused")
    if observed in ("error", "crash") or observed == "wrong" and node.op.pure:  # what is random may differ
        drift.append("wrong")
    if not verdict.runs and observed == "pass" and (runner is None or not _goes_anyway(node, runner)):
        drift.append("runs")
    fed = not idle and any(v is not None and v.data is None for v in node.inputs)  # what is not folds
    if row == "none" and verdict.runs and fed or row in ("native", "decomposed") and not conditional and not verdict.runs:
        drift.append("row")
    if rows and not any(found.holds_for(version) for found in rows):
        drift.append("version")
    if not verdict.runs and not verdict.code:
        drift.append("code")
    dtype = "" if first is None else first.short
    detail = record["reason"].splitlines()[0] if record["reason"] else ""
    return Probe(name, operator, dtype, row, verdict.level, verdict.code, verdict.reason, observed, detail[:300], tuple(drift))


def _without_elements(node: Any) -> bool:
    """Whether all results are empty: such a node folds away, and only the interface of the model is left to refuse."""
    from edgec.ir.types import TensorType

    return all(isinstance(v.type, TensorType) and 0 in (v.type.static_shape or ()) for v in node.outputs)


def _crosses(node: Any) -> bool:
    """Whether a node alone takes or gives what is no tensor: only inside of a model can it run."""
    from edgec.ir.types import TensorType

    return any(v is not None and not isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs))


def _goes_anyway(node: Any, runner: Any) -> bool:
    """Whether a node that the target does not take by itself goes nevertheless: the portable passes remove it, or the ladder finds an
    exact decomposition.
    """
    import edgec
    from edgec.ir.clone import isolated_node
    from edgec.ir.model import Model
    from edgec.lowering.ladder import Ladder

    portable = edgec.optimize(Model(isolated_node(node), opsets={"": 23}))
    return all(step.goes for step in Ladder(runner).survey(portable))


def report(target: str, version: str, probes: Sequence[Probe], limit: int) -> str:
    """The drift of one target as text."""
    counts = Counter(kind for found in probes for kind in found.drift)
    head = f"{target} {version}: {len(probes)} cases, {sum(not p.drift for p in probes)} as stated"
    lines = [head + "".join(f", {kind} {counts[kind]}" for kind in KINDS if counts[kind])]
    drifted = [found for found in probes if found.drift]
    for found in drifted[:limit]:
        stated = f"{found.stated}{f' [{found.code}]' if found.code else ''}"
        where = f"{found.op} {found.dtype}".strip()
        lines.append(
            f"  {'+'.join(found.drift)}: {found.case} ({where}): row {found.row or '-'}, verdict {stated}, observed {found.observed}"
        )
        if found.reason:
            lines.append(f"      said: {found.reason}")
        if found.detail:
            lines.append(f"      seen: {found.detail}")
    if len(drifted) > limit:
        lines.append(f"  and {len(drifted) - limit} more")
    return "\n".join(lines)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--target", default="", metavar="T[,T2…]", help="targets (default: all whose runtime is installed)")
    add("--sample", type=int, metavar="N", help="only so many cases of each target, spread over the operators")
    add("--seed", type=int, default=0, help="of the sample")
    add("--op", default="", metavar="OPERATOR", help="only cases of one operator")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="limit for one case")
    add("--limit", type=int, default=50, help="how many drifted cases are printed for each target")
    add("--stored", action="store_true", help="take the outcomes that conformance.py stored for this state of the code")
    add("--json", type=Path, metavar="FILE", help="write every probe here")
    default_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgec-conformance"
    add("--cache", type=Path, default=default_cache, help="folder for the cases of the suite")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parse_arguments(argv)
    from edgec.lowering.registry import backend, backend_names

    wanted = [name.strip() for name in arguments.target.split(",") if name.strip()]
    targets = wanted or [name for name in backend_names() if backend(name).available() is None]
    known = {name: case for name, case in cases(arguments.cache).items()}
    nodes = {name: node for name, case in known.items() if (node := single_node(case)) is not None}
    operators = {name: node.op.qualified_name for name, node in nodes.items()}
    names = [name for name in sorted(nodes) if arguments.op in ("", operators[name])]
    documents, drifted = {}, False
    for target in targets:
        chosen = names if arguments.sample is None else sample(names, operators, arguments.sample, arguments.seed)
        stored = None
        if arguments.stored:
            stored = conformance.load_results(conformance.results_path(arguments.cache, f"edgec-{target}-bound", []))
        probes = list(probe(target, ((known[name], nodes[name]) for name in chosen), arguments.timeout, stored))
        version = backend(target).version()
        documents[target] = {"version": version, "probes": [asdict(found) for found in probes]}
        drifted = drifted or any(found.drift for found in probes)
        print(report(target, version, probes, arguments.limit), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(documents, indent=1) + "\n")
    return int(drifted)


if __name__ == "__main__":
    sys.exit(main())
