"""Times of the operators of a .tflite file.

The Python package of LiteRT has no profiler: its interpreter wrapper exposes neither the profiler of the C++ interpreter nor events of
delegates. So the operators are timed by difference: the model is cut after every operator in turn, and what a longer piece takes more
than the one before is what its last operator takes. Cutting adds an output, which keeps delegates from fusing across the cut.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from ..measure import clock_of, measure
from ..measure_tflite import tflite_subject
from .timeline import E_UNPROFILED, Event, Profile

MOST = 400  # operators; every one is a model of its own to load and to time


def profile_tflite(
    path: str | Path, feeds: Sequence[Any], *, threads: int = 1, xnnpack: bool = True, budget_s: float = 0.05
) -> tuple[Profile, Any]:
    """Seconds of every operator by difference. Also gives the subject of the whole model.

    Raises:
        Diagnostic: E0504 when LiteRT refuses the model, E0651 when it has several subgraphs or too many operators.
    """
    whole = tflite_subject(path, feeds, threads, xnnpack)
    total = measure(whole.run, clock_of(threads), 4 * budget_s).seconds
    kernels = whole.schedule.kernels
    if len(kernels) > MOST:
        raise Diagnostic(E_UNPROFILED, f"the model has {len(kernels)} operators, more than {MOST}", str(path))
    elapsed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(prefixes(Path(path).read_bytes(), str(path))):
            if number == len(kernels) - 1:
                elapsed.append(total)
                break
            piece = Path(folder) / "piece.tflite"
            piece.write_bytes(data)
            subject = tflite_subject(piece, feeds, threads, xnnpack)
            elapsed.append(measure(subject.run, clock_of(threads), budget_s).seconds)
    steps = monotone_steps(elapsed)
    events = [
        Event(kernel.name, kernel.op, "kernel", None, seconds, "", kernel.sources, {"method": "difference of prefixes"})
        for kernel, seconds in zip(kernels, steps, strict=True)
    ]
    note = "LiteRT's Python package has no profiler: operators were timed as differences of models cut after each of them"
    return Profile("litert", tuple(events), 1, (note,)), whole


def monotone_steps(elapsed: Sequence[float]) -> list[float]:
    """Differences of times that cannot fall: the closest rising sequence is taken first (pool adjacent violators).

    >>> [round(s, 3) for s in monotone_steps([1.0, 3.0, 2.0, 4.0])]
    [1.0, 1.5, 0.0, 1.5]
    """
    blocks: list[tuple[float, int]] = []
    for value in elapsed:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (left, n), (right, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [((left * n + right * m) / (n + m), n + m)]
    level = [value for value, count in blocks for _ in range(count)]
    return [now - before for now, before in zip(level, [0.0, *level[:-1]], strict=True)]


def prefixes(data: bytes, where: str = "") -> Iterator[bytes]:
    """The model cut after its first operator, its second, and so on; whatever is used later or leaves the model is an output.

    Raises:
        Diagnostic: E0651 when the model has several subgraphs.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
    if len(model.subgraphs) != 1:
        raise Diagnostic(E_UNPROFILED, f"the model has {len(model.subgraphs)} subgraphs; operators are timed in models of one", where)
    graph = model.subgraphs[0]
    operators, outputs = list(graph.operators), [int(i) for i in graph.outputs]
    model.signatureDefs = []
    for count in range(1, len(operators) + 1):
        made = {int(i) for op in operators[:count] for i in op.outputs}
        later = {int(i) for op in operators[count:] for i in op.inputs} | set(outputs)
        graph.operators = operators[:count]
        graph.outputs = sorted(made & later) or [int(operators[count - 1].outputs[0])]
        builder = flatbuffers.Builder(len(data) + 1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        yield bytes(builder.Output())
