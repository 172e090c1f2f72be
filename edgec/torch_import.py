"""PyTorch module → `Model`, through the exporters of torch."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ir.diagnostics import Diagnostic, code
from .ir.model import Model

E_TORCH_MISSING = code(
    "E0701",
    "PyTorch is not installed",
    "Importing a PyTorch module needs torch and onnxscript, which are heavy and therefore an extra: `pip install 'edgec[torch]'`.",
)
E_TORCH_EXPORT = code(
    "E0702",
    "the PyTorch module cannot be exported",
    "Neither torch.export (dynamo) nor TorchScript could turn the module into ONNX. The notes hold what each exporter said; usually a "
    "branch on tensor values, an unsupported operator or a Python object among the arguments is the cause.",
)
EXPORTERS = ("auto", "dynamo", "torchscript")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class TraceWarning(UserWarning):
    """The traced module does not always do what the module does: a branch on values was frozen."""


def from_torch(
    module: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset: int | None = None,
    constant_folding: bool = True,
    exporter: str = "auto",
) -> Model:
    """Export a module and import the result.

    Args:
        module: a ``torch.nn.Module``; it is exported in evaluation mode, and its mode is restored.
        args: positional example arguments.
        kwargs: keyword example arguments.
        dynamic_shapes: dynamic dimensions in the form of ``torch.export``: per argument a dict from axis to name or ``torch.export.Dim``.
        dynamic_axes: the same in the older form, input name → {axis: name}; converted for dynamo.
        input_names: names of the graph inputs, in order.
        output_names: names of the graph outputs, in order.
        opset: ai.onnx opset of the export (default: the exporter's own).
        constant_folding: let the exporter fold constants.
        exporter: ``dynamo``, ``torchscript``, or ``auto``: dynamo first, TorchScript when it fails.

    Returns:
        The model; ``model.properties["exporter"]`` says which exporter made it, ``model.notes`` why another one failed.

    Raises:
        Diagnostic: torch is missing, or every exporter failed.
    """
    torch = _torch()
    if exporter not in EXPORTERS:
        raise Diagnostic(E_TORCH_EXPORT, f"there is no exporter '{exporter}'", hint=f"choose one of: {', '.join(EXPORTERS)}")
    names = list(input_names) if input_names is not None else None
    if dynamic_axes is not None and dynamic_shapes is None and exporter != "torchscript":
        dynamic_shapes = shapes_from_axes(dynamic_axes, names or list(dynamic_axes), len(args))
    options: dict[str, Any] = {
        "input_names": names,
        "output_names": list(output_names) if output_names is not None else None,
        "opset_version": opset,
        "do_constant_folding": constant_folding,
    }
    failures: list[str] = []
    was_training = getattr(module, "training", False)
    module.eval()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            for kind in ("dynamo", "torchscript") if exporter == "auto" else (exporter,):
                try:
                    if kind == "dynamo":
                        _dynamo(torch, module, args, kwargs, dynamic_shapes, options, path)
                    else:
                        axes = dynamic_axes if dynamic_axes is not None else axes_from_shapes(dynamic_shapes, names)
                        failures += _torchscript(torch, module, args, kwargs, axes, options, path)
                except Exception as error:  # the exporters raise anything; every failure is reported below
                    failures.append(f"{kind} failed with {type(error).__name__}: {_reason(error)}")
                    continue
                return _import(path, kind, failures)
    finally:
        module.train(was_training)
    raise Diagnostic(
        E_TORCH_EXPORT,
        f"{type(module).__name__} cannot be exported",
        hint="replace branches on tensor values by torch.where or torch.cond, or export to ONNX yourself and load the file",
        notes=failures,
    )


def _torch() -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Diagnostic(E_TORCH_MISSING, "PyTorch is not installed", hint="pip install 'edgec[torch]'") from None
    return torch


def _import(path: Path, kind: str, failures: list[str]) -> Model:
    from .ir.serial.reader import read_model

    model = read_model(path)  # the mappings keep the temporary files' data alive after the folder is gone
    model.path = None
    model.properties["exporter"] = kind
    model.notes.extend(failures)
    return model


def _dynamo(torch: Any, module: Any, args: Any, kwargs: Any, dynamic_shapes: Any, options: dict[str, Any], path: Path) -> None:
    chosen = {k: v for k, v in options.items() if v is not None and k != "do_constant_folding"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own chatter about deprecations
        program = torch.onnx.export(
            module,
            tuple(args),
            kwargs=dict(kwargs or {}),
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            verbose=False,
            optimize=options["do_constant_folding"],
            **chosen,
        )
    program.save(str(path))


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause, without terminal colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return lines[0] if lines else ""


def _torchscript(torch: Any, module: Any, args: Any, kwargs: Any, axes: Any, options: dict[str, Any], path: Path) -> list[str]:
    """Export by tracing; gives notes when the trace is not the module."""
    chosen = {k: v for k, v in options.items() if v is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.onnx.export(module, tuple(args), str(path), kwargs=dict(kwargs or {}), dynamic_axes=axes, dynamo=False, **chosen)
    frozen = [str(w.message).splitlines()[0] for w in caught if issubclass(w.category, torch.jit.TracerWarning)]
    if not frozen or not _trace_differs(torch, module, args, kwargs):
        return []
    message = (
        "the traced model differs from the module on other inputs: a branch on tensor values was frozen "
        f"(first warning of the tracer: {frozen[0]})"
    )
    warnings.warn(message, TraceWarning, stacklevel=3)
    return [message]


def _trace_differs(torch: Any, module: Any, args: Any, kwargs: Any) -> bool:
    """Compare the traced module with the module itself on negated, doubled and zeroed arguments."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, tuple(args), example_kwarg_inputs=None if not kwargs else dict(kwargs), check_trace=False)
        for change in (lambda x: -x, lambda x: x * 2, torch.zeros_like):
            other = [change(a) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
            expected, got = module(*other, **(kwargs or {})), traced(*other, **(kwargs or {}))
            if not _close(torch, expected, got):
                return True
    return False


def _close(torch: Any, expected: Any, got: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return expected.shape == got.shape and torch.allclose(expected.float(), got.float(), rtol=1e-4, atol=1e-5, equal_nan=True)
    if isinstance(expected, Mapping):
        return all(_close(torch, expected[k], got[k]) for k in expected)
    if isinstance(expected, tuple | list):
        return len(expected) == len(got) and all(_close(torch, a, b) for a, b in zip(expected, got, strict=True))
    return bool(expected == got)


def shapes_from_axes(axes: Mapping[str, Any], names: Sequence[str], count: int) -> tuple[Any, ...]:
    """``dynamic_axes`` (input name → {axis: name}) as ``dynamic_shapes`` of torch.export, argument by argument.

    >>> shapes_from_axes({"x": {0: "batch"}}, ["x", "mask"], 2)
    ({0: 'batch'}, None)
    """
    shapes: list[Any] = []
    for name in list(names)[:count]:
        entry = axes.get(name)
        if entry is not None and not isinstance(entry, Mapping):
            entry = {axis: f"{name}_{axis}" for axis in entry}
        shapes.append(dict(entry) if entry else None)
    return tuple(shapes + [None] * (count - len(shapes)))


def axes_from_shapes(shapes: Any, names: Sequence[str] | None) -> dict[str, dict[int, str]] | None:
    """``dynamic_shapes`` as ``dynamic_axes`` for TorchScript.

    >>> axes_from_shapes({"x": {0: "batch"}, "y": None}, None)
    {'x': {0: 'batch'}}
    """
    if not shapes:
        return None
    pairs = shapes.items() if isinstance(shapes, Mapping) else zip(names or (), shapes, strict=False)
    found: dict[str, dict[int, str]] = {}
    for name, entry in pairs:
        if isinstance(entry, Mapping):
            found[name] = {axis: dim if isinstance(dim, str) else getattr(dim, "__name__", f"{name}_{axis}") for axis, dim in entry.items()}
    return found or None
