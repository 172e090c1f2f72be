"""The noise floor of a model: how far rounding alone moves its results on given inputs.

Two honest computations of one model differ by more than the tolerance of `tolerance` when the model is
ill-conditioned on the inputs, as many are on made-up ones. The floor is measured: the largest relative change
of a result when every weight and every input moves to a neighbouring representable number, up or down by the
toss of a seeded coin, and when the runtime's own optimisations are on instead of off.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..ir.diagnostics import Diagnostic
from .compare import difference
from .subgraph import constant_tensors
from .subject import Subject
from .tolerance import MARGIN

TRIALS = 4
FACTOR = MARGIN  # the same allowance for constants that the tolerances make
CAP = 0.01  # of the tolerance that `FACTOR` gives
MEASURED, LAST = 2.0, 0.05  # an error hardly beyond the floor itself is noise, up to a larger cap
HOPELESS = 0.5  # beyond this error the floor is not even measured
LEAST = 8  # elements; smaller constants and inputs are sizes, bounds and scales rather than data
_PIECE = 1 << 22  # elements disturbed at a time
_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}

Array = np.ndarray[Any, np.dtype[Any]]


def allowance(floor: float) -> float:
    """The tolerance that a noise floor justifies: `FACTOR` times the floor up to `CAP`, or `MEASURED` times the floor up to `LAST`."""
    return max(min(CAP, FACTOR * floor), min(LAST, MEASURED * floor))


def chaotic(floor: float) -> bool:
    """Whether a model magnifies rounding so much that its results on these inputs cannot tell right from wrong."""
    return FACTOR * floor > CAP


def noise_floor(
    subject: Subject,
    feeds: Mapping[str, Any],
    *,
    part: Any = None,
    seed: int = 0,
    trials: int = TRIALS,
) -> dict[str, float]:
    """The noise floor of every floating-point output on one sample, as a relative error.

    Args:
        subject: the model; one without an ONNX graph has no floor that could be measured.
        feeds: the sample.
        part: a model cut out of the subject to measure in place of the whole.
        seed: for the coins.
        trials: how many disturbed runs.

    Returns:
        Floors by output name. Outputs that are no floats, or that noise changes beyond measure (another
        shape, NaN), have none.
    """
    if subject.graph is None:
        return {}
    proto = subject.graph.model if part is None else part
    try:
        base = subject.engine(proto).run(_needed(proto, feeds))
    except Diagnostic:
        return {}
    found: dict[str, float] = {}
    for run in _runs(subject, proto, feeds, seed, trials):
        try:
            moved = run()
        except Diagnostic:
            continue  # noise in a bound or a size can make a model that no longer runs; it says nothing
        for name, value in moved.items():
            change = difference(base[name], value)
            if change.kind == "float" and math.isfinite(change.relative):
                found[name] = max(found.get(name, 0.0), change.relative)
    return found


def _needed(proto: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    return {value.name: feeds[value.name] for value in proto.graph.input if value.name in feeds and value.name not in constants}


def _runs(subject: Subject, proto: Any, feeds: Mapping[str, Any], seed: int, trials: int) -> Iterator[Callable[[], dict[str, Any]]]:
    yield lambda: subject.engine(proto, level="all").run(_needed(proto, feeds))
    for trial in range(trials):
        generator = np.random.default_rng([seed, trial])
        with tempfile.TemporaryDirectory(prefix="edgec-noise-") as folder:
            moved = {name: nudged(value, generator) for name, value in _needed(proto, feeds).items()}
            changed = _disturbed(proto, subject.folder, Path(folder), generator)
            yield lambda: subject.engine(changed, data_folder=Path(folder)).run(moved)  # noqa: B023


def nudged(value: Any, generator: np.random.Generator) -> Any:
    """A copy with every element moved to a neighbouring number of its type.

    Zeros, subnormal numbers, infinities, NaN and numbers near the end of the range stay, and so does
    everything but floating-point arrays of at least 16 bits and `LEAST` elements.

    >>> moved = nudged(np.ones(8, np.float32), np.random.default_rng(0))
    >>> sorted(set((moved - 1).tolist()))
    [-5.960464477539063e-08, 1.1920928955078125e-07]
    """
    if not isinstance(value, np.ndarray) or value.dtype.name not in _MANTISSA or value.size < LEAST:
        return value
    mantissa = _MANTISSA[value.dtype.name]
    moved = np.array(value, order="C")
    bits = moved.reshape(-1).view(f"i{value.itemsize}")
    top = (1 << (8 * value.itemsize - 1 - mantissa)) - 1
    for start in range(0, bits.size, _PIECE):
        piece = bits[start : start + _PIECE]
        coins = generator.integers(0, 2, piece.size, dtype=np.int8)
        exponents = (piece >> mantissa) & top
        steps = (2 * coins - 1) * ((exponents > 0) & (exponents < top - 1))
        piece += steps.astype(piece.dtype)
    return moved


def _disturbed(proto: Any, source: Path, target: Path, generator: np.random.Generator) -> Any:
    """A copy of a model with other weights; those in files go to a file in ``target``, a piece at a time."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    with (target / "weights").open("wb") as stream:
        for tensor in constant_tensors(made.graph):
            if tensor.data_location == tensor.EXTERNAL:
                _move(tensor, source, stream, generator)
            elif tensor.data_type != tensor.STRING:
                _replace(tensor, generator)
    return made


def _replace(tensor: Any, generator: np.random.Generator) -> None:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    moved = nudged(array, generator)
    if moved is not array:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(moved, name))


def _move(tensor: Any, source: Path, stream: BinaryIO, generator: np.random.Generator) -> None:
    from onnx import helper

    facts = {entry.key: entry.value for entry in tensor.external_data}
    path, offset = source / facts["location"], int(facts.get("offset", 0))
    length = int(facts["length"]) if "length" in facts else path.stat().st_size - offset
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    movable = dtype.name in _MANTISSA and length >= LEAST * dtype.itemsize
    stream.write(bytes(-stream.tell() % 64))
    start = stream.tell()
    size = _PIECE * dtype.itemsize
    with path.open("rb") as file:
        file.seek(offset)
        for begin in range(0, length, size):
            raw = file.read(min(size, length - begin))
            stream.write(nudged(np.frombuffer(raw, dtype), generator).tobytes() if movable else raw)
    del tensor.external_data[:]
    for key, text in (("location", "weights"), ("offset", str(start)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)
