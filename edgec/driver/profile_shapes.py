"""The command profile-shapes: optimisation profiles from a trace of real shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic
from ..ir.model import Model
from ..lowering.signature import Signature
from ..lowering.tensorrt.codes import E_TRACE
from ..lowering.tensorrt.profiles import MISMATCH, Proposal, bindings, propose, work_cost
from ..lowering.tensorrt.shapes import profile_of, trtexec_flags
from ..optimizing import open_model
from .console import emit, table


def profile_shapes(path: Path, *, trace: Path, count: int, mismatch: float | None, output: Path | None, as_json: bool) -> None:
    """Propose profiles, print them with the flags of trtexec, and write them for ``--option profiles=FILE``."""
    model = open_model(path)
    requests = [bindings(model.graph.inputs, shapes, where) for where, shapes in read_trace(trace, model)]
    proposal = propose(requests, count, work_cost(model), mismatch=MISMATCH if mismatch is None else mismatch)
    ranges = [dict(profile.ranges) for profile in proposal.profiles]
    flags = trtexec_flags([profile_of(model.graph.inputs, item) for item in ranges])
    facts = {
        "schema": "edgec.profile-shapes/1",
        "ok": True,
        "input": str(path),
        "requests": len(requests),
        "expected_seconds": {"profiles": proposal.seconds, "single": proposal.single, "ideal": proposal.ideal},
        "profiles": [
            {"ranges": {n: list(r) for n, r in p.ranges.items()}, "requests": p.requests, "seconds": p.seconds} for p in proposal.profiles
        ],
        "trtexec": flags,
    }
    if output is not None:
        _write(output, ranges)
    emit(facts, as_json, _text(proposal, len(requests), flags))


def read_trace(path: Path, model: Model) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each request of a trace stands, and the shapes it gives by name.

    A file that ends in ``.jsonl`` has an object on each line: the shape of every input, or the size of every symbolic dimension.
    Anything else is a data set of input arrays.

    Raises:
        Diagnostic: E0561 for lines that are no such objects; what a bad data set raises.
    """
    if path.suffix not in (".jsonl", ".json"):
        from ..runtime.dataset import iterate_dataset

        for number, sample in enumerate(iterate_dataset(path, Signature.of(model))):
            yield f"sample {number}", {name: value.shape for name, value in sample.feeds.items()}
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Diagnostic(E_TRACE, f"the trace cannot be read: {error.strerror or error}", f"file '{path}'") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            found = json.loads(line)
        except ValueError as error:
            raise Diagnostic(E_TRACE, f"the line is no JSON: {error}", where) from None
        if not isinstance(found, dict):
            raise Diagnostic(E_TRACE, "the line is no object of shapes by input", where, 'write {"input": [1, 3, 224, 224]}')
        yield where, {str(name): _shape(value, where) for name, value in found.items()}


def _shape(value: Any, where: str) -> list[int]:
    sizes = value if isinstance(value, list) else [value]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in sizes):
        raise Diagnostic(E_TRACE, f"{value!r} is no shape", where, "shapes are lists of sizes")
    return sizes


def _write(path: Path, ranges: list[dict[str, tuple[int, int, int]]]) -> None:
    from ..ir.serial.atomic import writing

    with writing(path) as (file,):
        file.write((json.dumps({"profiles": ranges}, indent=1) + "\n").encode())


def _text(proposal: Proposal, requests: int, flags: list[str]) -> str:
    rows = [
        (number, name, *sizes, profile.requests, f"{profile.seconds * 1e3:.3g} ms")
        for number, profile in enumerate(proposal.profiles)
        for name, sizes in profile.ranges.items()
    ]
    gain = proposal.single / proposal.seconds if proposal.seconds else 1.0
    return "\n".join(
        [
            table(("profile", "dimension", "min", "opt", "max", "requests", "expected"), rows, right=(2, 3, 4, 5, 6)),
            "",
            f"{requests} requests: {proposal.seconds * 1e3:.3g} ms expected, {proposal.single * 1e3:.3g} ms with one profile "
            f"({gain:.3g}×), {proposal.ideal * 1e3:.3g} ms if every shape had its own",
            "by a model of the GPU, not measured",
            "",
            "trtexec " + " ".join(flags),
        ]
    )
