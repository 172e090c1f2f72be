"""TensorRT artifacts, loaded: the engine on a GPU, or its stand-in, the strongly typed ONNX model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ..backend import E_LOAD, E_RUN, Session
from ..ort.engine import Engine
from ..signature import Signature
from .codes import E_HOLD

STAND_IN = "the strongly typed ONNX model in ONNX Runtime: it judges the lowering, not the engine"


class ReferenceSession(Session):
    """What the engine was built from, run by ONNX Runtime without optimisations.

    Attributes:
        stand_in: says so.
    """

    stand_in = STAND_IN

    def __init__(self, path: Path, signature: Signature, boundary: Mapping[str, Any]) -> None:
        """Load the typed model at ``path``; `Diagnostic` E0504 when ONNX Runtime rejects it even after its own legalisation."""
        self.signature, self._boundary = signature, boundary
        self._engine = Engine(_legalised(path) or path, level="disable", threads=1, where=path.name)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`."""
        results = self._engine.run(to_engine(self.signature.check(feeds), self._boundary))
        return to_public(results, self.signature)


def _legalised(path: Path) -> bytes | None:
    """The typed model with what ONNX Runtime lacks, or is known to compute wrongly, respelled, at an opset that it has kernels for.

    None when there is nothing of the kind.
    """
    import onnxruntime

    from ...ir.serial.reader import read_model
    from ...passes.manager import run_passes
    from ..ort import legalize
    from ..ort.matrix import best_opset, runs_as_stored

    model = read_model(path)
    modified = run_passes(model.graph, legalize.NAME).modified
    if not modified and runs_as_stored(model, onnxruntime.__version__):
        return None
    return model.to_bytes(opset=best_opset(model, onnxruntime.__version__, False)[0])


def to_engine(feeds: Mapping[str, Any], boundary: Mapping[str, Any]) -> dict[str, Any]:
    """Checked public inputs in the element types of the engine.

    Raises:
        Diagnostic: E0554 for float64 numbers beyond float32, and unsigned integers beyond int64.
    """
    found = {}
    for name, value in feeds.items():
        wanted = DType.from_short(boundary["inputs"][name]).numpy
        array = np.asarray(value)
        if array.dtype != wanted:
            with np.errstate(over="ignore"):
                changed = array.astype(wanted)
            lost = np.isinf(changed) & np.isfinite(array) if wanted.kind == "f" else changed.astype(array.dtype) != array
            if bool(np.any(lost)) or array.dtype == np.uint64 and bool((changed < 0).any()):
                message = f"TensorRT has no {array.dtype}, and {wanted} cannot hold these values"
                raise Diagnostic(E_HOLD, message, f"input '{name}'", "choose the target ort")
            array = changed
        found[name] = np.ascontiguousarray(array).reshape(array.shape)
    return found


def to_public(results: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Results of the engine in the public element types."""
    found = {}
    for spec in signature.outputs:
        array = np.asarray(results[spec.name])
        found[spec.name] = array if spec.dtype is None or array.dtype == spec.dtype.numpy else array.astype(spec.dtype.numpy)
    return found


class EngineSession(Session):
    """An engine on the GPU.

    Tensors are copied to the GPU and back by the CUDA driver; sizes of the results that depend on the data are not supported.
    """

    def __init__(self, path: Path, signature: Signature, boundary: Mapping[str, Any]) -> None:
        """Load the engine at ``path``; `Diagnostic` E0504 when the runtime rejects it, E0553 when the driver fails."""
        from .cuda import Device
        from .sdk import load

        self.signature, self._boundary = signature, boundary
        self._device, sdk = Device(), load()
        self._trt = sdk.trt
        self._runtime = sdk.trt.Runtime(sdk.logger)
        sdk.forget_messages()
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        context = None if self._engine is None else self._engine.create_execution_context()
        if context is None:
            hint = "the engine runs on the compute capabilities in its name, with the version of TensorRT that built it"
            raise Diagnostic(E_LOAD, "TensorRT does not load the engine", path.name, hint, list(sdk.messages)[:8])
        self._context = context

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`. E0505 when no optimisation profile holds the shapes, E0553 when the driver fails."""
        given = to_engine(self.signature.check(feeds), self._boundary)
        context, device = self._context, self._device
        with device.stream() as stream:
            self._choose_profile(given, stream)
            for name, array in given.items():
                if self._engine.is_shape_inference_io(name):
                    context.set_tensor_address(name, array.ctypes.data)
                    continue
                context.set_input_shape(name, array.shape)
                context.set_tensor_address(name, device.upload(array, stream))
            results = {}
            for spec in self.signature.outputs:
                shape = tuple(context.get_tensor_shape(spec.name))
                if any(size < 0 for size in shape):
                    raise Diagnostic(E_RUN, f"the size of output '{spec.name}' depends on the data", hint="choose the target ort")
                dtype = DType.from_short(self._boundary["outputs"][spec.name])
                results[spec.name] = np.empty(shape, dtype.numpy)
                context.set_tensor_address(spec.name, device.allocate(results[spec.name].nbytes, stream))
            if not context.execute_async_v3(stream.handle):
                raise Diagnostic(E_RUN, "TensorRT stopped while running", hint="check that the sizes of the inputs fit together")
            for name, array in results.items():
                stream.download(array, context.get_tensor_address(name))
        return to_public(results, self.signature)

    def _choose_profile(self, given: Mapping[str, Any], stream: Any) -> None:
        engine = self._engine
        for number in range(engine.num_optimization_profiles):
            if all(self._holds(name, array, number) for name, array in given.items()):
                self._context.set_optimization_profile_async(number, stream.handle)
                return
        sizes = ", ".join(f"{name}: {list(array.shape)}" for name, array in given.items())
        raise Diagnostic(E_RUN, f"no optimisation profile holds the shapes {sizes}", hint="compile with profiles that cover them")

    def _holds(self, name: str, array: Any, number: int) -> bool:
        if self._engine.is_shape_inference_io(name):
            return True
        least, _, most = self._engine.get_tensor_profile_shape(name, number)
        return len(least) == array.ndim and all(a <= n <= b for a, n, b in zip(least, array.shape, most, strict=True))
