"""Bundles: a folder with the files of an artifact, a manifest with hashes, and the way back to the source
model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ..ir.diagnostics import Diagnostic, code
from ..lowering.artifact import Artifact
from ..lowering.backend import Session
from ..lowering.registry import backend
from ..lowering.signature import Signature
from .storage import staged_folder

FORMAT = 1
MANIFEST = "manifest.json"
DEBUG = "debug.json"

E_NOT_BUNDLE = code(
    "E0611",
    "the folder is not a bundle",
    "A bundle is a folder with a manifest.json written by `edgec compile`. Folders that hold anything else are never overwritten.",
)
E_DAMAGED = code(
    "E0612",
    "the bundle is damaged",
    "A file is missing, has another size or hash than the manifest says, or the manifest itself is malformed. Compile it again.",
)


@dataclass
class Bundle:
    """A compiled model on disk.

    Attributes:
        folder: where it lies.
        manifest: the parsed manifest.
        signature: inputs and outputs.
        overrides: session options that replace those of the manifest.
    """

    folder: Path
    manifest: dict[str, Any]
    signature: Signature
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The backend's name."""
        return self.manifest["target"]

    @cached_property
    def session(self) -> Session:
        """The loaded model; loading happens on first use."""
        runner = backend(self.target)
        runner.require()
        return runner.open(self.folder, self.manifest, self.overrides)

    @cached_property
    def debug(self) -> dict[str, dict[str, list[str]]]:
        """``values`` and ``nodes`` of the artifact with the source model's names they stand for."""
        name = self.manifest.get("debug")
        return _read_json(self.folder / name) if name else {"values": {}, "nodes": {}}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name for feeds by name; `Diagnostic` for wrong names, element types or shapes."""
        return self.session.run(feeds)


def write_bundle(
    artifact: Artifact,
    folder: str | Path,
    facts: Mapping[str, Any],
    *,
    check: Callable[[Path, Mapping[str, Any]], None] | None = None,
) -> Bundle:
    """Write a bundle; the folder appears complete or not at all, and the same input gives the same bytes.

    Args:
        artifact: what a backend made.
        folder: where to; an older bundle there is replaced, anything else is refused.
        facts: further manifest entries: ``source``, ``passes``, ``versions``, ``options`` …; no timestamps.
        check: called with the finished temporary folder and the manifest; what it raises abandons the write.

    Raises:
        Diagnostic: E0611 when ``folder`` holds something that is not a bundle, E0309 when it cannot be
            written.
    """
    target = Path(folder).absolute()
    refuse_to_overwrite(target)
    with staged_folder(target) as stage:
        for name, content in artifact.files.items():
            path = stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content)
        _write_json(stage / DEBUG, dict(artifact.debug) or {"values": {}, "nodes": {}})
        manifest = _manifest(artifact, facts, stage)
        _write_json(stage / MANIFEST, manifest)
        if check is not None:
            check(stage, manifest)
    return Bundle(target, manifest, artifact.signature)


def _manifest(artifact: Artifact, facts: Mapping[str, Any], stage: Path) -> dict[str, Any]:
    from .. import __version__  # pyright: ignore[reportMissingImports]  (the root package lies beside this folder)

    files = {p.relative_to(stage).as_posix(): _facts_of(p) for p in sorted(stage.rglob("*")) if p.is_file()}
    own = {
        "format": FORMAT,
        "edgec": __version__,
        "target": artifact.backend,
        "files": files,
        "signature": artifact.signature.to_json(),
        "lowering": dict(artifact.facts),
        "losses": [loss.to_json() for loss in artifact.losses],
        "debug": DEBUG,
    }
    options = {**dict(facts.get("options", {})), **artifact.options}
    return {**facts, "options": options, **own}


def load_bundle(folder: str | Path, **overrides: Any) -> Bundle:
    """Open a bundle after checking every file against the manifest.

    Args:
        folder: the bundle.
        overrides: session options, such as ``threads=1``.

    Raises:
        Diagnostic: E0611 when it is not a bundle, E0612 when it is damaged.
    """
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        missing = "the folder does not exist" if not place.exists() else f"there is no {MANIFEST}"
        raise Diagnostic(E_NOT_BUNDLE, missing, str(folder), "make one with `edgec compile MODEL --target ort -o DIR`")
    manifest = _read_json(place / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise Diagnostic(E_DAMAGED, f"manifest format {found!r} is not supported, only {FORMAT}", str(place / MANIFEST))
    try:
        signature = Signature.from_json(manifest["signature"])
        entries = sorted((str(name), dict(entry)) for name, entry in manifest["files"].items())
        if not isinstance(manifest["target"], str) or not isinstance(manifest.get("options", {}), dict):
            raise TypeError("target or options have the wrong type")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Diagnostic(E_DAMAGED, f"the manifest is malformed: {error!r}", str(place / MANIFEST)) from error
    for name, entry in entries:
        _check_file(place, name, entry)
    return Bundle(place, manifest, signature, dict(overrides))


def is_bundle(path: str | Path) -> bool:
    """Whether a path looks like a bundle."""
    return (Path(path) / MANIFEST).is_file()


def refuse_to_overwrite(folder: Path) -> None:
    """Raise `Diagnostic` E0611 when something lies at ``folder`` that is neither a bundle nor an empty
    folder.
    """
    if not folder.exists() or is_bundle(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    what = "holds other files" if folder.is_dir() else "is a file"
    raise Diagnostic(E_NOT_BUNDLE, f"the output {what} and would be overwritten", str(folder), "choose another folder")


def _check_file(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise Diagnostic(E_DAMAGED, f"the manifest names '{name}', which lies outside the bundle", str(folder / MANIFEST))
    path = folder / relative
    if not path.is_file():
        raise Diagnostic(E_DAMAGED, f"'{name}' is missing", str(folder), "compile the model again")
    found = _facts_of(path) if path.stat().st_size == entry.get("bytes") else {"bytes": path.stat().st_size}
    if found.get("bytes") != entry.get("bytes"):
        raise Diagnostic(E_DAMAGED, f"'{name}' has {found['bytes']} bytes, not {entry.get('bytes')}", str(folder))
    if found["sha256"] != entry.get("sha256"):
        raise Diagnostic(E_DAMAGED, f"the contents of '{name}' differ from what was compiled (SHA-256)", str(folder))


def _facts_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    return _facts_of(Path(path))["sha256"]


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Diagnostic(E_DAMAGED, f"it cannot be read: {error}", str(path), "compile the model again") from error
