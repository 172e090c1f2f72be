"""Data sets: folders of .npz feeds, single .npz files, and ONNX test data folders."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, code
from ..lowering.signature import Signature, TensorSpec
from .compare import as_float, is_float

E_DATA = code(
    "E0604",
    "the data set cannot be read",
    "A data set is a folder of .npz files (one file a sample, keys are input names), one .npz file, or a folder with ONNX "
    "test_data_set_* folders that hold input_0.pb, output_0.pb and so on.",
)


@dataclass
class Sample:
    """One set of feeds.

    Attributes:
        name: the file's or folder's name.
        feeds: values by input name.
        expected: expected outputs in the order of the model's outputs, None when the data set has none.
        warnings: what looks wrong with the data, such as NaN.
    """

    name: str
    feeds: dict[str, Any]
    expected: list[Any] | None = None
    warnings: list[str] = field(default_factory=list)


def load_dataset(path: str | Path, signature: Signature | None = None, *, limit: int | None = None) -> list[Sample]:
    """All samples of a data set; see `iterate_dataset`, which holds one at a time."""
    return list(iterate_dataset(path, signature, limit=limit))


def iterate_dataset(path: str | Path, signature: Signature | None = None, *, limit: int | None = None) -> Iterator[Sample]:
    """The samples of a data set in the order of their names (numbers in names count as numbers).

    Args:
        path: a folder of .npz files, one .npz file, a test_data_set_* folder, or a folder that holds some.
        signature: when given, feeds are checked against it and put in its order.
        limit: the most samples to give.

    Raises:
        Diagnostic: E0604 when there is nothing to read, E0601–E0603 when feeds do not fit the signature.
    """
    for count, source in enumerate(_sources(Path(path))):
        if limit is not None and count >= limit:
            return
        sample = _read_npz(source) if source.is_file() else _read_onnx_folder(source, signature)
        if signature is not None:
            sample.feeds = signature.check(sample.feeds, f"sample '{source}'")
        sample.warnings = [w for name, value in sample.feeds.items() for w in _suspicions(name, value)]
        yield sample


def _sources(path: Path) -> list[Path]:
    hint = "give a folder of .npz files, one .npz file, or a folder with test_data_set_* folders"
    if path.is_file():
        if path.suffix != ".npz":
            raise Diagnostic(E_DATA, f"a data file must be .npz, not '{path.suffix}'", str(path), hint)
        return [path]
    if not path.is_dir():
        raise Diagnostic(E_DATA, "it does not exist", str(path), hint)
    if any(path.glob("input_*.pb")):
        return [path]
    found = [p for p in path.iterdir() if p.suffix == ".npz" and p.is_file()]
    found = found or [p for p in path.glob("test_data_set_*") if p.is_dir()]
    if not found:
        raise Diagnostic(E_DATA, "the folder holds no samples", str(path), hint)
    return sorted(found, key=lambda p: _natural(p.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _read_npz(path: Path) -> Sample:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            feeds = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        hint = "string inputs must be stored as text arrays, not as objects" if "pickle" in str(error) else ""
        raise Diagnostic(E_DATA, f"not a readable .npz file: {error}", str(path), hint) from error
    return Sample(path.stem, feeds)


def _read_onnx_folder(folder: Path, signature: Signature | None) -> Sample:
    feeds: dict[str, Any] = {}
    for index, path in enumerate(_numbered(folder, "input")):
        specs = signature.inputs if signature is not None else ()
        stored, value = _read_protobuf(path, specs[index] if index < len(specs) else None)
        names = [spec.name for spec in specs]
        name = names[index] if index < len(names) else stored or f"input_{index}"
        if stored in names:
            name = stored
        feeds[name] = value
    outputs = _numbered(folder, "output")
    specs = signature.outputs if signature is not None else ()
    expected = [_read_protobuf(p, specs[i] if i < len(specs) else None)[1] for i, p in enumerate(outputs)]
    return Sample(folder.name, feeds, expected or None)


def _numbered(folder: Path, stem: str) -> list[Path]:
    paths = sorted(folder.glob(f"{stem}_*.pb"), key=lambda p: _natural(p.name))
    if [p.name for p in paths] != [f"{stem}_{i}.pb" for i in range(len(paths))]:
        raise Diagnostic(E_DATA, f"the {stem} files are not numbered from 0 without gaps", str(folder))
    return paths


def _read_protobuf(path: Path, spec: TensorSpec | None) -> tuple[str, Any]:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        raw = path.read_bytes()
        kind = spec.kind if spec is not None else "tensor"
        if kind == "tensor":
            tensor = onnx.TensorProto.FromString(raw)
            return tensor.name, numpy_helper.to_array(tensor)
        if kind == "sequence":
            sequence = onnx.SequenceProto.FromString(raw)
            return sequence.name, numpy_helper.to_list(sequence)
        optional = onnx.OptionalProto.FromString(raw)
        present = any(optional.HasField(f) for f in ("tensor_value", "sequence_value", "optional_value"))
        return optional.name, numpy_helper.to_optional(optional) if present else None
    except (OSError, DecodeError, ValueError, TypeError, RuntimeError) as error:
        raise Diagnostic(E_DATA, f"not a readable ONNX tensor file: {error}", str(path)) from error


def _suspicions(name: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [warning for item in value for warning in _suspicions(name, item)]
    array = np.asarray(value)
    if value is None or not is_float(array):
        return []
    bad = ~np.isfinite(as_float(array))
    count = int(np.count_nonzero(bad))
    return [f"input '{name}' holds {count} NaN or infinite elements"] if count else []
