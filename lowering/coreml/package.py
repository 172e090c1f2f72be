"""Writing an ``.mlpackage`` so that the same program gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..artifact import FileContent

PACKAGE = "model.mlpackage"
_DATA = "Data/com.apple.CoreML"
_NAMESPACE = uuid.UUID("6f5b0c1e-8d7a-5e43-9c52-2f3f5a4f0f11")


def package_files(model: Any) -> dict[str, FileContent]:
    """The files of the package of a converted model, by name in the bundle.

    The identifiers in the manifest are derived from the contents, maps in the specification are written in a fixed order, and the
    date and versions that coremltools notes are left out.

    Args:
        model: coremltools' model; it is kept until the weights have been copied from its folder.
    """
    spec = model.get_spec()
    specification = spec.SerializeToString(deterministic=True)
    weights = Path(model.weights_dir) if getattr(model, "weights_dir", None) else None
    weight_files = sorted(p for p in weights.rglob("*") if p.is_file()) if weights is not None and weights.is_dir() else []
    digest = hashlib.sha256(specification)
    for path in weight_files:
        digest.update(path.name.encode() + _file_digest(path))
    files: dict[str, FileContent] = {f"{PACKAGE}/{_DATA}/model.mlmodel": specification}
    for path in weight_files:
        assert weights is not None
        files[f"{PACKAGE}/{_DATA}/weights/{path.relative_to(weights).as_posix()}"] = _copier(path, model)
    files[f"{PACKAGE}/Manifest.json"] = _manifest(digest.hexdigest(), bool(weight_files))
    return files


def _copier(path: Path, owner: Any) -> Callable[[Path], None]:
    def write(target: Path, _owner: Any = owner) -> None:
        shutil.copyfile(path, target)

    return write


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _manifest(content: str, has_weights: bool) -> bytes:
    model_id, weights_id = (str(uuid.uuid5(_NAMESPACE, f"{content} {part}")).upper() for part in ("model", "weights"))
    entries = {
        model_id: {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Specification",
            "name": "model.mlmodel",
            "path": "com.apple.CoreML/model.mlmodel",
        }
    }
    if has_weights:
        entries[weights_id] = {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": "com.apple.CoreML/weights",
        }
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": model_id}
    return (json.dumps(manifest, indent=4, sort_keys=True) + "\n").encode()


def clean_metadata(model: Any, metadata: dict[str, str], description: dict[str, str]) -> None:
    """Replace what coremltools notes about itself by the model's own metadata."""
    spec = model._spec
    found = spec.description.metadata
    found.userDefined.clear()
    for key, value in sorted(metadata.items()):
        found.userDefined[key] = value
    found.shortDescription = description.get("shortDescription", "")
    found.versionString = description.get("versionString", "")
    found.author = description.get("author", "")
    found.license = description.get("license", "")
