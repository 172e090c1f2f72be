"""A bundle as something to time, on the runtimes that run here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic
from .bundle import Bundle
from .measure_subject import Subject
from .profiling.timeline import E_UNPROFILED

RUNTIMES = ("ort", "openvino", "tflite")


def bundle_subject(bundle: Bundle, feeds: Mapping[str, Any], threads: int = 1, level: str | None = None) -> Subject:
    """A loaded bundle with its inputs in place.

    Args:
        bundle: of ort, openvino or tflite.
        feeds: inputs by their public names.
        threads: of the runtime.
        level: how far ONNX Runtime optimises; as the bundle says when None. Other runtimes have no levels.

    Raises:
        Diagnostic: E0651 for bundles of other targets, E0601 to E0603 for feeds that do not fit, E0504 or E1017 when the runtime refuses
            the model.
    """
    checked = bundle.signature.check(feeds)
    if bundle.target == "ort":
        return _ort(model_path(bundle), checked, threads, level or ort_level(bundle))
    if bundle.target == "openvino":
        from .measure_openvino import openvino_subject

        path = model_path(bundle)
        return openvino_subject(path, feeds_by_port(path, checked), threads)
    if bundle.target == "tflite":
        from .measure_tflite import tflite_subject

        xnnpack = bool(bundle.manifest.get("options", {}).get("xnnpack", True))
        return tflite_subject(model_path(bundle), list(checked.values()), threads, xnnpack)
    raise unrunnable(bundle)


def unrunnable(bundle: Bundle) -> Diagnostic:
    """The refusal of a bundle that no runtime here takes."""
    return Diagnostic(E_UNPROFILED, f"bundles of '{bundle.target}' do not run here", str(bundle.folder), "import a profile of the device")


def model_path(bundle: Bundle) -> Path:
    """The file that the runtime of a bundle reads."""
    lowering = bundle.manifest.get("lowering", {})
    names = {"ort": lowering.get("onnx", "model.onnx"), "openvino": lowering.get("ir", "model.xml"), "tflite": "model.tflite"}
    return bundle.folder / names[bundle.target]


def ort_level(bundle: Bundle) -> str:
    """How far ONNX Runtime optimises the model of a bundle."""
    return str(bundle.manifest.get("options", {}).get("optimization") or "all")


def _ort(path: Path, feeds: Mapping[str, Any], threads: int, level: str) -> Subject:
    from .measure_ort import ort_subject

    found = ort_subject(path, feeds, threads, level)
    if found.schedule.free and found.bindings:  # sizes that only a run decides: bind those of the inputs, and most become numbers
        return ort_subject(path, feeds, threads, level, sizes=found.bindings)
    return found


def feeds_by_port(path: Path, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Feeds by OpenVINO's own names of the inputs, which stand in the order of the signature; unused ones may be missing there."""
    import openvino

    ports = openvino.Core().read_model(str(path)).inputs
    names = [port.get_any_name() for port in ports]
    if all(name in feeds for name in names):
        return {name: feeds[name] for name in names}
    return dict(zip(names, feeds.values(), strict=False))
