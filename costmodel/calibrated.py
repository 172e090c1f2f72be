"""What a calibration finds: coefficients of the kernel features on one machine with one backend, and the file that holds them."""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, code
from ..ir.serial.atomic import writing
from .hardware import KERNEL_CLASSES, Target
from .kernels import KERNELS

SCHEMA = "edgec.calibrated/1"

E_CALIBRATED = code(
    "E1015",
    "a calibrated target cannot be read",
    "The file is not what `edgec calibrate` writes, or a number in it is missing or impossible. Run `edgec calibrate` again.",
)


@dataclass(frozen=True)
class ClassCoefficients:
    """T = constant + (Tc^p + Tm^p)^(1/p) for one class of kernels; Tc and Tm are sums of coefficients times features.

    Tm = Σ memory · bytes from (and to) a level + Σ reads · bytes of activations from a level + Σ stalls · bytes of constants from a level
    · the class's stall.

    Attributes:
        kernel: the kernel class.
        dtype: short name of the element type that it computes in.
        variant: of the class, empty for all that have none of their own.
        constant: seconds per launch, dispatch included.
        compute: seconds per unit of the features that `kernels.KERNELS` names.
        memory: seconds per byte that comes from a memory level, by the level's name.
        overlap: p.
        spread: factors that enclose 90 % of the residuals of single kernels.
        shared: the part of a residual's variance that all kernels of the class have in common.
        samples: measurements behind the fit.
        error: mean relative error in cross-validation.
        reads: further seconds per byte of an activation that is read, by the level's name: writes need not be waited for.
        stalls: further seconds per byte of a constant, by the level's name; see `kernels.KernelClass`.
    """

    kernel: str
    dtype: str
    variant: str = ""
    constant: float = 0.0
    compute: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    overlap: float = 1.0
    spread: tuple[float, float] = (0.8, 1.25)
    shared: float = 0.5
    samples: int = 0
    error: float = 0.0
    reads: Mapping[str, float] = field(default_factory=dict)
    stalls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassScalar:
    """One factor on the roofline of a class of kernels.

    Attributes:
        kernel: the kernel class.
        dtype: the element type.
        factor: measured over expected time, dispatch left out.
        spread: factors that enclose 90 % of the residuals.
        samples: measurements behind it.
    """

    kernel: str
    dtype: str
    factor: float
    spread: tuple[float, float] = (0.6, 1.7)
    samples: int = 0


@dataclass(frozen=True)
class CalibratedTarget:
    """A target with what was measured on it.

    Attributes:
        target: the machine; its engine describes the setting that was measured (cores that worked, sustained bandwidths).
        backend: which runtime was measured.
        threads: with how many threads.
        coefficients: by class.
        scalars: by class.
        across: correlation of the errors of different classes.
        graph_spread: factors of the least interval of a whole model.
        facts: versions, processor, date, error figures: for people.
        cold: further seconds per launch, by the memory level that a run's operands overflow: what a runtime keeps of a node, and its code,
            are then fetched from beyond.
    """

    target: Target
    backend: str
    threads: int
    coefficients: tuple[ClassCoefficients, ...] = ()
    scalars: tuple[ClassScalar, ...] = ()
    across: float = 0.0
    graph_spread: tuple[float, float] = (0.95, 1.05)
    facts: Mapping[str, str] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)

    def find(self, kernel: str, variant: str, dtype: str) -> ClassCoefficients | None:
        """The coefficients of the variant, else of its class, in an element type; None when there are none."""
        table = self._table
        return table.get((kernel, variant, dtype)) or table.get((kernel, "", dtype))

    @cached_property
    def _table(self) -> dict[tuple[str, str, str], ClassCoefficients]:
        return {(c.kernel, c.variant, c.dtype): c for c in self.coefficients}

    def scalar(self, kernel: str, dtype: str) -> ClassScalar | None:
        """The factor of a class in an element type."""
        return next((s for s in self.scalars if (s.kernel, s.dtype) == (kernel, dtype)), None)


def is_calibrated(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a calibrated target."""
    try:
        with open(path, "rb") as file:
            return SCHEMA.encode() in file.read(200)
    except OSError:
        return False


def save_calibrated(calibrated: CalibratedTarget, path: str | os.PathLike[str]) -> None:
    """Write the file, atomically and deterministically."""
    plain = {"schema": SCHEMA, **_plain(calibrated)}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if not isinstance(value, list | dict)]
    lines += [f"\n[{key}]\n{_table_lines(value)}" for key, value in plain.items() if isinstance(value, dict)]
    for key, value in plain.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"\n[[{key}]]\n{_table_lines(entry)}" for entry in value]
    lines[1:1] = [f"{key} = {_toml(v)}" for key, v in plain.items() if isinstance(v, list) and not (v and isinstance(v[0], dict))]
    with writing(Path(path)) as (file,):
        file.write(("\n".join(lines) + "\n").encode())


def load_calibrated(path: str | os.PathLike[str]) -> CalibratedTarget:
    """Read the file.

    Raises:
        Diagnostic: E1015 with the key that is wrong.
    """
    try:
        plain = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Diagnostic(E_CALIBRATED, str(error), str(path)) from error
    if plain.pop("schema", None) != SCHEMA:
        raise Diagnostic(E_CALIBRATED, f"its schema is not {SCHEMA}", str(path), "give a file that `edgec calibrate` wrote")
    try:
        found: CalibratedTarget = _revive(CalibratedTarget, plain, "")
    except ValueError as error:
        raise Diagnostic(E_CALIBRATED, str(error), str(path), "run `edgec calibrate` again") from error
    for entry in found.coefficients:
        problem = _problem(entry, found)
        if problem:
            raise Diagnostic(E_CALIBRATED, f"coefficients of {entry.kernel} in {entry.dtype}: {problem}", str(path))
    return found


def _problem(entry: ClassCoefficients, found: CalibratedTarget) -> str:
    if entry.kernel not in KERNEL_CLASSES:
        return f"'{entry.kernel}' is no kernel class"
    unknown = [name for name in entry.compute if name not in KERNELS[entry.kernel].features]
    levels = {level.name for engine in found.target.engines for level in engine.memory}
    unknown += [name for name in (*entry.memory, *entry.reads, *entry.stalls) if name not in levels]
    if unknown:
        return f"'{unknown[0]}' is no feature or memory level"
    numbers = (entry.constant, *entry.compute.values(), *entry.memory.values(), *entry.reads.values(), *entry.stalls.values())
    if any(not 0 <= x < float("inf") for x in numbers):
        return "a coefficient is negative or not finite"
    if entry.overlap < 1 or not 0 < entry.spread[0] <= 1 <= entry.spread[1]:
        return "overlap or spread is impossible"
    return ""


# -- plain data --------------------------------------------------------------------------------------------------------
def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value))
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: float(v) if hints[name] is float else _plain(v) for name, v in pairs if v is not None}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _table_lines(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{_key(k)} = {_toml(v)}" for k, v in table.items())


def _key(text: str) -> str:
    return text if text.replace("-", "").replace("_", "").isalnum() and text.isascii() else _toml(text)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _revive(kind: Any, value: Any, where: str) -> Any:
    """A value of the given type from plain data; `ValueError` that names the key when it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _revive(next(a for a in arguments if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}, not one of {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(kind):
        return _revive_record(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is no list")
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} entries, not {len(kinds)}")
        return tuple(_revive(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no table")
        return {k: _revive(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        raise ValueError(f"{where} is {value!r}, not {kind.__name__}")
    return value


def _revive_record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where or 'the file'} is no table")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    for key in value:
        if key not in known:
            raise ValueError(f"{where + '.' if where else ''}{key} is not known")
    for name, described in known.items():
        required = described.default is dataclasses.MISSING and described.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise ValueError(f"{where + '.' if where else ''}{name} is missing")
    return kind(**{k: _revive(hints[k], v, f"{where + '.' if where else ''}{k}") for k, v in value.items()})
