"""ONNX backend test suite through a choice of routes, each case isolated and the results kept.

Every case of ``onnx.backend.test`` (node, simple, pytorch-converted, pytorch-operator and the light real
models) runs in a long-lived worker process; a crash or a hang marks that case and restarts the worker.
Results go to a JSON-lines file keyed by route and versions, so that an interrupted run resumes.

    python benchmarks/conformance.py --route ort
    python benchmarks/conformance.py --route edgec-ort --baseline ort --list-failing
    python benchmarks/conformance.py --route openvino --filter 'pad|resize' --fresh

Outcomes: ``pass`` (equal shapes and dtypes, values within the case's own tolerances), ``refused`` (the route
declined the model before running it), ``wrong``, ``crash`` (the process died or timed out), ``error``.
Exit status: 0 when nothing is wrong or crashed and no case that passes in the baseline is lost, 2 when
the route is not installed, otherwise 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STATUSES = ("pass", "refused", "wrong", "crash", "error")
ROUTES = ("ort", "openvino", "edgec-portable", "edgec-ort", "edgec-openvino", "edgec-tensorrt", "edgec-tflite", "edgec-coreml")
ROUTE_PACKAGES = {
    "ort": "onnxruntime",
    "portable": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt-rtx",
    "tflite": "ai-edge-litert",
}
HARNESS_VERSION = 9  # raise it when a route of this harness judges differently
CASES_VERSION = 2  # raise it when the stored cases change
CASES_PER_WORKER = 400


# ---------------------------------------------------------------- cases


def prepare_cases(cache: Path) -> dict[str, Path]:
    """Write every case of the installed suite to the cache once; returns name -> file, sorted by name."""
    folder = cache / f"cases-onnx-{metadata.version('onnx')}-{CASES_VERSION}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for case in _suite_cases():
            target = folder / f"{case['name']}.pkl"
            partial = target.with_suffix(f".{os.getpid()}")
            partial.write_bytes(pickle.dumps(case, protocol=5))
            partial.replace(target)
        (folder / "complete").touch()
    return {path.stem: path for path in sorted(folder.glob("*.pkl"))}


def _suite_cases() -> Iterator[dict[str, Any]]:
    import warnings

    import numpy as np
    import onnx
    from onnx import numpy_helper
    from onnx.backend.test.loader import load_model_tests

    np.random.seed(0)
    warnings.simplefilter("ignore")

    def plain(values: Any) -> list[Any]:
        arrays = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]
        return [np.asarray(v) if isinstance(v, np.generic) else v for v in arrays]

    for test in load_model_tests(kind="node"):
        assert test.model is not None and test.data_sets is not None
        yield {
            "name": test.name,
            "kind": "node",
            "model": test.model.SerializeToString(),
            "data_sets": [(plain(inputs), plain(outputs)) for inputs, outputs in test.data_sets],
            "rtol": test.rtol,
            "atol": test.atol,
        }
    for kind in ("simple", "pytorch-converted", "pytorch-operator", "real"):
        for test in load_model_tests(kind=kind):
            if test.model_dir is not None:
                model = (Path(test.model_dir) / "model.onnx").read_bytes()
                data_sets = _stored_data_sets(Path(test.model_dir), onnx.load_from_string(model).graph)
            else:
                model, data_sets = _light_model(str(test.url))
            yield {
                "name": test.name,
                "kind": kind,
                "model": model,
                "data_sets": data_sets,
                "rtol": test.rtol,
                "atol": test.atol,
            }


def _stored_data_sets(folder: Path, graph: Any) -> list[tuple[list[Any], list[Any]]]:
    data_sets = []
    for stored in sorted(folder.glob("test_data_set*")):
        sides: list[list[Any]] = []
        for side, values in (("input", graph.input), ("output", graph.output)):
            count = len(list(stored.glob(f"{side}_*.pb")))
            sides.append([_stored_value(stored / f"{side}_{i}.pb", values[i].type) for i in range(count)])
        data_sets.append((sides[0], sides[1]))
    return data_sets


def _stored_value(path: Path, kind: Any) -> Any:
    import onnx
    from onnx import numpy_helper

    content = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _light_model(url: str) -> tuple[bytes, list[tuple[list[Any], list[Any]]]]:
    """A light model of the installed package with the suite's ramp input and its stored expected outputs."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    path = Path(onnx.__file__).parent / url.removeprefix("onnx/")
    model = path.read_bytes()
    graph = onnx.load_from_string(model).graph
    initialised = {tensor.name for tensor in graph.initializer}
    inputs: list[Any] = []
    for value in graph.input:
        if value.name in initialised:
            continue
        dims = value.type.tensor_type.shape.dim
        shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims]
        size = int(np.prod(shape))
        inputs.append((np.arange(size).reshape(shape) / size).astype(np.float32))
    outputs = []
    for index in range(len(graph.output)):
        stored = path.with_name(f"{path.stem}_output_{index}.pb").read_bytes()
        outputs.append(numpy_helper.to_array(onnx.TensorProto.FromString(stored)))
    return model, [(inputs, outputs)]


# ---------------------------------------------------------------- workers


class Worker:
    """A subprocess that judges cases one after another and is replaced when it dies or hangs."""

    def __init__(self, route: str, timeout: float, plugins: list[str]) -> None:
        self.route = route
        self.timeout = timeout
        self.command = [sys.executable, "-X", "faulthandler", str(HERE / "conformance_worker.py"), *plugins]
        self.process: subprocess.Popen[bytes] | None = None
        self.served = 0
        self.log = tempfile.TemporaryFile()

    def judge(self, case: Path) -> dict[str, Any]:
        """Run one case; returns its record without the name."""
        if self.process is None or self.served >= CASES_PER_WORKER:
            self.close()
            self._start()
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        self.served += 1
        request = json.dumps({"case": str(case), "route": self.route}) + "\n"
        self.log.seek(0)
        self.log.truncate()
        try:
            process.stdin.write(request.encode())
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.timeout)
            answer = process.stdout.readline() if ready else None
        except BrokenPipeError:
            answer = b""
        if answer:
            return json.loads(answer)
        reason = f"no answer after {self.timeout:g} s" if answer is None else self._cause_of_death(process)
        self.close()
        return {"status": "crash", "reason": reason, "seconds": self.timeout if answer is None else 0.0}

    def _start(self) -> None:
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self.served = 0

    def _cause_of_death(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        self.log.seek(0)
        text = self.log.read().decode("utf-8", "replace")
        told = [line.strip() for line in text.splitlines() if line.strip() and "File " not in line]
        return f"{cause}: {told[0] if code < 0 and told else (told[-1] if told else '')}"[:600]

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


# ---------------------------------------------------------------- results


def results_path(cache: Path, route: str, plugins: list[str]) -> Path:
    """The JSON-lines file of a route; its name changes with the versions and with edgec's own sources."""
    parts = [route, f"onnx-{metadata.version('onnx')}"]
    parts += sorted({f"{p}-{metadata.version(p)}" for part, p in ROUTE_PACKAGES.items() if part in route})
    sources = [Path(plugin) for plugin in plugins]
    if route.startswith("edgec"):
        for package in ("edgec", "ir", "costmodel", "passes", "lowering", "runtime"):
            sources += sorted((HERE.parent / package).rglob("*.py"))
    if sources:
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        parts.append(digest[:12])
    return cache / "results" / f"{'_'.join(parts)}_h{HARNESS_VERSION}.jsonl"


def load_results(path: Path) -> dict[str, dict[str, Any]]:
    """Records by case name; a line cut short by an interruption is ignored."""
    records: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            records[record["name"]] = record
    return records


def run_cases(todo: list[tuple[str, Path]], path: Path, arguments: argparse.Namespace) -> None:
    """Judge the cases with the given number of workers, appending each record to ``path``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    path.parent.mkdir(parents=True, exist_ok=True)
    queue = iter(todo)
    lock = threading.Lock()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, path.open("a") as output:
        task = progress.add_task(arguments.route, total=len(todo))

        def serve() -> None:
            worker = Worker(arguments.route, arguments.timeout, arguments.plugin)
            try:
                while not stop.is_set():
                    with lock:
                        item = next(queue, None)
                    if item is None:
                        return
                    record = {"name": item[0], **worker.judge(item[1])}
                    with lock:
                        output.write(json.dumps(record) + "\n")
                        output.flush()
                    progress.advance(task)
            finally:
                worker.close()

        stop = threading.Event()
        threads = [threading.Thread(target=serve) for _ in range(arguments.jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            stop.set()
            raise


def summarise(records: dict[str, dict[str, Any]], kinds: dict[str, str]) -> dict[str, dict[str, int]]:
    """Counts by kind of case and by status, with a total without the light models and one with them."""
    table: dict[str, Counter[str]] = {}
    for name, record in records.items():
        rows = [kinds[name], "all"] if kinds[name] == "real" else [kinds[name], "all but real", "all"]
        for row in rows:
            table.setdefault(row, Counter())[record["status"]] += 1
    order = ["node", "simple", "pytorch-converted", "pytorch-operator", "all but real", "real", "all"]
    return {row: {status: table[row][status] for status in STATUSES} for row in order if row in table}


def report(route: str, records: dict[str, dict[str, Any]], summary: dict[str, dict[str, int]]) -> None:
    """Print the counts and the most common reasons for each outcome other than pass."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=f"ONNX backend suite through {route}")
    for title in ("cases", *STATUSES, "total", "passes"):
        table.add_column(title, justify="left" if title == "cases" else "right")
    for row, counts in summary.items():
        total = sum(counts.values())
        numbers = [str(counts[status]) for status in STATUSES]
        table.add_row(row, *numbers, str(total), f"{100 * counts['pass'] / total:.1f} %")
    console.print(table)
    for status in STATUSES[1:]:
        reasons = Counter(
            re.sub(r"\d+", "#", record["reason"].splitlines()[0] if record["reason"] else "")[:150]
            for record in records.values()
            if record["status"] == status
        )
        for reason, count in reasons.most_common(8):
            console.print(f"{count:5d} {status}: {escape(reason)}", soft_wrap=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--route",
        required=True,
        help="ort, openvino, edgec-portable, edgec-ort, edgec-openvino; or with -bound",
    )
    add("--filter", default="", metavar="REGEX", help="only cases whose name matches")
    add("--jobs", type=int, choices=(1, 2), default=1, help="worker processes")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="limit for one case")
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="reuse stored results")
    add("--fresh", dest="resume", action="store_false", help="the same as --no-resume")
    add("--baseline", metavar="ROUTE", help="list cases that pass there (stored results) and not here")
    add("--plugin", action="append", default=[], metavar="FILE.py", help="module that registers routes")
    add("--list-failing", action="store_true", help="print every case that does not pass")
    add("--json", metavar="FILE", help="write summary and failing cases here ('-': standard output)")
    default_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgec-conformance"
    add("--cache", type=Path, default=default_cache, help="folder for cases and results")
    arguments = parser.parse_args(argv)
    if not arguments.plugin and arguments.route.removesuffix("-bound") not in ROUTES:
        parser.error(f"unknown route '{arguments.route}'; routes: {', '.join(ROUTES)}, each also with -bound")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parse_arguments(argv)
    if arguments.route.startswith("edgec") and importlib.util.find_spec("edgec") is None:
        sys.stderr.write(f"route {arguments.route} needs edgec installed: pip install -e {HERE.parent}\n")
        return 2
    cases = {n: p for n, p in prepare_cases(arguments.cache).items() if re.search(arguments.filter, n)}
    path = results_path(arguments.cache, arguments.route, arguments.plugin)
    stored = load_results(path) if arguments.resume else {}
    todo = [(name, case) for name, case in cases.items() if name not in stored]
    if todo:
        run_cases(todo, path, arguments)
    stored = load_results(path)
    records = {name: stored[name] for name in cases if name in stored}
    kinds = {name: pickle.loads(case.read_bytes())["kind"] for name, case in cases.items()}
    summary = summarise(records, kinds)
    failing = {name: record for name, record in records.items() if record["status"] != "pass"}
    lost: list[str] = []
    if arguments.baseline:
        reference = load_results(results_path(arguments.cache, arguments.baseline, arguments.plugin))
        lost = [name for name in failing if reference.get(name, {}).get("status") == "pass"]
    if arguments.json:
        versions = {name: metadata.version(name) for name in ("onnx", "numpy")}
        document = {"route": arguments.route, "file": path.name, "versions": versions, "summary": summary,
                    "failing": failing, "lost": lost}  # fmt: skip
        text = json.dumps(document, indent=1) + "\n"
        sys.stdout.write(text) if arguments.json == "-" else Path(arguments.json).write_text(text)
    if arguments.json != "-":
        report(arguments.route, records, summary)
        if arguments.list_failing:
            for name, record in sorted(failing.items(), key=lambda item: (item[1]["status"], item[0])):
                print(f"{record['status']:8s}{name}: {(record['reason'].splitlines() or [''])[0]}")
        if arguments.baseline:
            print(f"{len(lost)} cases pass through {arguments.baseline} and not through {arguments.route}")
            for name in lost:
                print(f"  {name}: {failing[name]['status']}: {failing[name]['reason'][:200]}")
    broken = sum(record["status"] in ("wrong", "crash") for record in records.values())
    return 1 if broken or lost else 0


if __name__ == "__main__":
    sys.exit(main())
