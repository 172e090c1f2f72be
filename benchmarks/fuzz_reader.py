"""Fuzz the reader, the verifier, the default pipeline and the writer with mutated model files.

    python benchmarks/fuzz_reader.py --seconds 3600 --seed 1 --resume

Every case is a small model of the ONNX backend suite (or of ``--models``), mutated: flipped bits, truncations, changed fields found through
protobuf's descriptors, parts of a second model. The case is read, verified, optimised, written and read again in a worker process with
2 GiB of address space. A `Diagnostic` is the only acceptable failure; any other exception, a crash, more than 10 seconds of CPU or more
memory is a finding. Findings are reduced and kept, one file for each place that fails, in ``--output``; ``--resume`` goes on after the
last case.

    python benchmarks/fuzz_reader.py --replay FILE...

runs kept files again and prints what happens.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from fuzz_mutations import Corpus, mutate, reductions

ROOT = Path(__file__).resolve().parents[1]
TIME_LIMIT = 10.0
HANG = 60.0
MEMORY_LIMIT = 2 << 30
REDUCE_TRIES = 300
REDUCE_SECONDS = 60.0
DEFECTS = {"E0312", "E0404", "E0405", "E0901"}  # diagnostics that report a defect of edgec, not of the model


class TooSlow(BaseException):
    """The time limit passed inside Python code; not an `Exception`, so that nothing catches it on the way."""


def exercise(data: bytes, path: Path) -> tuple[str, str]:
    """Take one file through all stages.

    Returns:
        What happened (``done``, ``refused``, or ``finding``) and its signature: stage, exception and the innermost frames.
    """
    from edgec.ir.diagnostics import Diagnostic
    from edgec.ir.serial.reader import read_model
    from edgec.ir.verifier import verify
    from edgec.passes.default_pipeline import default_pipeline
    from edgec.passes.manager import PassManager

    stage = "read"
    path.write_bytes(data)
    output = path.with_name("written.onnx")
    try:
        model = read_model(path)
        stage = "verify"
        verify(model.graph)
        stage = "optimize"
        PassManager(default_pipeline(), verify="structure").run(model)
        stage = "verify the result"
        verify(model.graph)
        stage = "write"
        model.save(output)
        stage = "read the result"
        read_model(output)
    except TooSlow as error:
        return "finding", f"{stage}: slow at {_place(error, 2)}"
    except Diagnostic as error:
        cause = error.__cause__
        if error.code in DEFECTS:
            if cause is not None and not isinstance(cause, Diagnostic):
                return "finding", f"{stage}: {type(cause).__name__} at {_place(cause)}"
            return "finding", f"{stage}: {error.code} {_generic(error)}"
        if stage in ("verify", "verify the result", "read the result"):
            return "finding", f"{stage}: {error.code} {_generic(error)}"
        return "refused", f"{stage}: {error.code}"
    except Exception as error:
        return "finding", f"{stage}: {type(error).__name__} at {_place(error)}"
    return "done", ""


def _generic(error: Any) -> str:
    """The innermost place that raised a diagnostic, without names out of the model."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    operator = error.where.rpartition("(")[2].rstrip(")")
    return f"{operator} at {_place(inner)}"


def _place(error: BaseException, depth: int = 1) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(ROOT)]
    return " < ".join(f"{Path(f.filename).name}:{f.name}" for f in reversed(frames[-depth:])) or "unknown"


def _worker(connection: Any, other_end: Any, folder: str) -> None:
    other_end.close()  # so that the worker ends with its parent

    def alarm(*_: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = Path(folder) / "case.onnx"
    while True:
        data = connection.recv_bytes()
        try:
            signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)
            outcome = exercise(data, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
        except TooSlow:
            outcome = ("finding", "slow")
        connection.send(outcome)


class Runner:
    """A worker that is replaced when it dies or hangs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.process: Any = None
        self.cases = 0

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_worker, args=(theirs, ours, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.connection = ours
        self.cases = 0

    def stop(self) -> None:
        """End the worker."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def run(self, data: bytes) -> tuple[str, str]:
        """The outcome of one case; crashes and hangs of the worker included."""
        if self.process is None or self.cases > 1000:  # interned symbols and caches grow: begin anew now and then
            self.stop()
            self._start()
        self.cases += 1
        try:
            self.connection.send_bytes(data)
            if self.connection.poll(HANG):
                return self.connection.recv()
            outcome = ("finding", "hang in native code")
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            outcome = ("finding", f"crash: exit code {self.process.exitcode}")
        self.stop()
        return outcome


def reduce_case(runner: Runner, data: bytes, signature: str) -> bytes:
    """A smaller file with the same signature."""
    limit = time.monotonic() + REDUCE_SECONDS
    tries, smaller = 0, True
    while smaller and tries < REDUCE_TRIES:
        smaller = False
        for candidate in reductions(data):
            tries += 1
            if tries >= REDUCE_TRIES or time.monotonic() > limit:
                return data
            if len(candidate) < len(data) and runner.run(candidate)[1] == signature:
                data, smaller = candidate, True
                break
    return data


def fuzz(options: argparse.Namespace) -> int:
    """Run for the given time; the number of findings is printed at the end."""
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    log = output / "state.json"
    state: dict[str, Any] = {"seed": options.seed, "next": 0, "seconds": 0.0, "outcomes": {}, "findings": {}}
    if options.resume and log.exists():
        state = json.loads(log.read_text())
    outcomes = Counter(state["outcomes"])
    corpus = Corpus.load(options.models)
    began = time.monotonic()
    spent = state["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(folder)
        try:
            while time.monotonic() - began < options.seconds:
                case = state["next"]
                data = mutate(corpus, Random(f"{state['seed']}:{case}"))
                kind, signature = runner.run(data)
                outcomes[signature if kind == "refused" else kind] += 1
                state["next"] = case + 1
                if kind == "finding":
                    _keep(runner, output, state, signature, data, case)
                if kind == "finding" or case % 500 == 0:
                    state["outcomes"] = dict(sorted(outcomes.items()))
                    state["seconds"] = round(spent + time.monotonic() - began, 1)
                    log.write_text(json.dumps(state, indent=1, sort_keys=True))
        finally:
            runner.stop()
            state["outcomes"] = dict(sorted(outcomes.items()))
            state["seconds"] = round(spent + time.monotonic() - began, 1)
            log.write_text(json.dumps(state, indent=1, sort_keys=True))
    print(f"{state['next']} cases in {state['seconds']:.0f} s, {len(state['findings'])} distinct findings in {output}")
    for name, count in sorted(state["outcomes"].items()):
        print(f"  {count:8} {name}")
    return 1 if state["findings"] else 0


def _keep(runner: Runner, output: Path, state: dict[str, Any], signature: str, data: bytes, case: int) -> None:
    found = state["findings"].get(signature)
    if found is not None:
        found["count"] += 1
        return
    name = f"f{len(state['findings']):03}.onnx"
    state["findings"][signature] = {"file": name, "count": 1, "case": case}
    (output / name).write_bytes(data)
    print(f"case {case}: {signature} → {name}", flush=True)
    (output / name).write_bytes(reduce_case(runner, data, signature))


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on where the last run in the same folder ended")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="further models to mutate")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fuzz"))
    parser.add_argument("--replay", type=Path, nargs="+", help="run these files instead")
    options = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    warnings.simplefilter("ignore")
    if not options.replay:
        return fuzz(options)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(folder)
        for path in options.replay:
            kind, signature = runner.run(path.read_bytes())
            bad += kind == "finding"
            print(f"{path}: {kind} {signature}".rstrip())
        runner.stop()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
