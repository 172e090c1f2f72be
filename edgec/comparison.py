"""One model compiled for several targets, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .compiling import Compilation, Compiled
from .ir.diagnostics import Diagnostic, Exit, code
from .ir.model import Model
from .optimizing import Settings, Source

if TYPE_CHECKING:
    from .runtime.bundle import Bundle

SCHEMA = "edgec.compare/1"
FILE = "compare.json"
Predict = Callable[[Compiled], "Mapping[str, Any] | None"]

E_TARGET_FAILED = code(
    "E0572",
    "a target failed unexpectedly",
    "Lowering for one of several targets raised an exception: a defect of edgec or of a plugin, not of the model. The bundles of the other "
    "targets are complete. Compile for this target alone with EDGEC_TRACEBACK=1 to see where.",
    Exit.TARGET_REFUSED,
)
E_FOLDER = code(
    "E0573",
    "the bundles of several targets cannot lie here",
    "The folder gets one bundle for each target, each in a folder of the target's name, and compare.json. It must not be a bundle itself.",
)


@dataclass
class Entry:
    """What became of one target.

    Attributes:
        target: its name.
        compiled: the bundle and its story, None when there is none.
        failure: why there is no bundle.
        facts: the row of the table: ``bytes``, ``operators``, ``transposes``, ``verified``, ``losses``, ``fallbacks``, ``predicted``.
    """

    target: str
    compiled: Compiled | None = None
    failure: Diagnostic | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        refusal = None if self.failure is None else self.failure.to_json()
        return {"target": self.target, "ok": self.failure is None, "error": refusal, **self.facts}


@dataclass
class Comparison:
    """The bundles of several targets.

    Attributes:
        folder: holds a bundle for each target, and ``compare.json``.
        entries: by target, in the order asked for.
    """

    folder: Path
    entries: dict[str, Entry]

    @property
    def bundles(self) -> dict[str, Bundle]:
        """The bundles that could be made, by target."""
        return {name: entry.compiled.bundle for name, entry in self.entries.items() if entry.compiled is not None}

    @property
    def failures(self) -> dict[str, Diagnostic]:
        """Why the other targets have none."""
        return {name: entry.failure for name, entry in self.entries.items() if entry.failure is not None}

    def to_json(self) -> dict[str, Any]:
        """The table as plain data; two runs give the same."""
        return {"schema": SCHEMA, "ok": not self.failures, "targets": [entry.to_json() for entry in self.entries.values()]}


def compile_targets(
    source: Source,
    settings: Settings,
    targets: Sequence[str],
    folder: Path,
    *,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    predict: Predict | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Make the bundles of several targets in one run; the passes that they have in common run once.

    A target that refuses the model does not keep the others from theirs: its refusal is in the table.

    Args:
        source: a model or the path of one.
        settings: their ``target`` is not used; options may name a target before a dot (``tflite.threads``).
        targets: names of targets.
        folder: gets a folder for each target, and ``compare.json``.
        dims: sizes of symbolic dimensions.
        freeze: inputs to make constants of.
        predict: gives predicted figures of a compiled model.
        progress: told what is being done, in a few words.

    Raises:
        Diagnostic: what is wrong with the model or the options, before any target is begun; E0573 for an impossible folder.
    """
    from .ir.serial.atomic import writing
    from .runtime.bundle import is_bundle, refuse_to_overwrite

    if is_bundle(folder) or folder.exists() and not folder.is_dir():
        what = "the folder is a bundle" if folder.is_dir() else "it is a file"
        raise Diagnostic(E_FOLDER, what, str(folder), "choose another folder")
    wanted = list(dict.fromkeys(targets))
    for target in wanted:
        refuse_to_overwrite(folder.absolute() / target)
    entries: dict[str, Entry] = {}
    with Compilation.of(source, settings, wanted, dims, freeze) as compilation:
        for target in wanted:
            progress(f"compiling for {target}")
            entry = entries[target] = Entry(target)
            try:
                entry.compiled = compilation.build(target, folder / target)
            except Diagnostic as error:
                entry.failure = error
                continue
            except (KeyboardInterrupt, MemoryError, OSError):
                raise
            except Exception as error:
                hint = f"compile for it alone (--target {target}) with EDGEC_TRACEBACK=1 to see where, and report it"
                entry.failure = Diagnostic(E_TARGET_FAILED, f"{type(error).__name__}: {error}", f"target '{target}'", hint)
                entry.failure.__cause__ = error
                continue
            progress(f"verifying the bundle for {target}")
            entry.facts = row(compilation, entry.compiled, settings.data)
            entry.facts["predicted"] = predict(entry.compiled) if predict is not None else None
    found = Comparison(folder, entries)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with writing(folder / FILE) as (file,):
        file.write(text.encode("utf-8"))
    return found


def row(compilation: Compilation, compiled: Compiled, data: Any) -> dict[str, Any]:
    """The figures of one bundle."""
    manifest = compiled.bundle.manifest
    operators = manifest["lowering"].get("operators")
    if not isinstance(operators, Mapping):
        operators = Counter(node.op.qualified_name for node in compiled.result.model.graph.walk())
    counts = {str(name): int(times) for name, times in sorted(operators.items())}
    losses = Counter(loss["group"] for loss in manifest["losses"])
    fallbacks = Counter(step.rung for step in compiled.steps)
    return {
        "folder": compiled.bundle.folder.name,
        "bytes": sum(entry["bytes"] for entry in manifest["files"].values()),
        "operators": sum(counts.values()),
        "by_operator": counts,
        "transposes": sum(times for name, times in counts.items() if name.lower().rpartition(".")[2] == "transpose"),
        "losses": dict(sorted(losses.items())),
        "fallbacks": dict(sorted(fallbacks.items())),
        "verified": verified(compilation, compiled, data),
    }


def verified(compilation: Compilation, compiled: Compiled, data: Any) -> dict[str, Any]:
    """The error of a bundle against the original in ONNX Runtime: ``passed`` (None when it could not be run), ``worst``, ``tolerance``
    of the worst output, and the reason.
    """
    from .runtime.verify import verify

    try:
        report = verify(_original(compilation), compiled.bundle, data, layers=False)
    except Diagnostic as error:
        return {"passed": None, "worst": None, "tolerance": None, "reason": error.message}
    if not report.outputs:
        return {"passed": None, "worst": None, "tolerance": None, "reason": "there are no outputs"}
    worst = max(report.outputs, key=lambda output: (not output.passed, output.error.worst / max(output.error.tolerance, 1e-30)))
    figures = worst.error.to_json()
    return {"passed": report.passed, "worst": _rounded(figures["worst"]), "tolerance": _rounded(figures["tolerance"]), "reason": worst.why}


def _original(compilation: Compilation) -> Model | Path:
    """The file as it was given where it says the same, else the model that was read from it."""
    path = compilation.model.path
    return path if path is not None and path.suffix == ".onnx" and not compilation.dims else compilation.model


def _rounded(number: Any) -> Any:
    """Three digits: what two runs have in common on machines with different kernels."""
    return float(f"{number:.3g}") if isinstance(number, float) else number
