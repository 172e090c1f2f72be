"""An OpenVINO artifact, loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.data import pack, unpack
from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ..backend import E_LOAD, E_RUN, Session
from ..signature import Signature
from .boundary import Boundary, to_public, to_runtime
from .constants import CONSTANTS_FILE, read_constants

_PACKED = {
    DType.BFLOAT16: "bf16", DType.FLOAT8E4M3FN: "f8e4m3", DType.FLOAT8E5M2: "f8e5m2", DType.INT4: "i4", DType.UINT4: "u4",
    DType.UINT2: "u2", DType.FLOAT4E2M1: "f4e2m1", DType.FLOAT8E8M0: "f8e8m0",
}  # fmt: skip


def runtime_properties(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as properties of ``compile_model``."""
    properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": options["precision"]}
    if options["threads"]:
        properties["INFERENCE_NUM_THREADS"] = options["threads"]
    if not options["low_precision"]:
        properties["LP_TRANSFORMS_MODE"] = "NO"
    return properties


class OpenVinoSession(Session):
    """A compiled OpenVINO model behind its public signature.

    Tensors are paired with ports by position: OpenVINO renames inputs and outputs that coincide.
    """

    def __init__(self, path: Path, signature: Signature, boundary: Boundary, options: Mapping[str, Any]) -> None:
        """Load the model at ``path``; `Diagnostic` E0504 when the runtime rejects it."""
        self.signature, self._boundary = signature, boundary
        self._constants = read_constants(path.with_name(CONSTANTS_FILE)) if any(p.constant is not None for p in boundary.outputs) else []
        self._request: Any = None
        if boundary.has_model:
            import openvino

            try:
                compiled = openvino.Core().compile_model(str(path), "CPU", runtime_properties(options))
            except Exception as error:
                raise Diagnostic(E_LOAD, "OpenVINO does not load the model", path.name, notes=[str(error)[:2000]]) from error
            self._plans = boundary.pair(compiled, path.name)
            self._ports_in: Sequence[Any] = compiled.inputs
            self._ports_out: Sequence[Any] = compiled.outputs
            self._request = compiled.create_infer_request()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`. E0505 also for values that the runtime's arithmetic cannot hold."""
        checked = self.signature.check(feeds)
        results = self._infer(checked)
        outputs: dict[str, Any] = {}
        for spec, plan in zip(self.signature.outputs, self._boundary.outputs, strict=True):
            if plan.copy_of is not None:
                value = checked[plan.copy_of]
                outputs[spec.name] = value.copy() if isinstance(value, np.ndarray) else value
            elif plan.constant is not None:
                outputs[spec.name] = self._constants[plan.constant].copy()
            else:
                assert plan.port is not None
                outputs[spec.name] = to_public(results[plan.port], plan.dtype)
        return outputs

    def _infer(self, checked: Mapping[str, Any]) -> list[Any]:
        if self._request is None:
            return []
        for plan in self._boundary.inputs:
            if plan.used and plan not in self._plans:
                to_runtime(checked[plan.name], plan)  # checked although nothing depends on it
        tensors = [to_tensor(to_runtime(checked[plan.name], plan)) for plan in self._plans]
        try:
            for port, tensor in zip(self._ports_in, tensors, strict=True):
                self._request.set_tensor(port, tensor)
            self._request.infer()
            return [from_tensor(self._request.get_tensor(port)) for port in self._ports_out]
        except Exception as error:
            hint = "check that the sizes of the inputs fit together"
            raise Diagnostic(E_RUN, "OpenVINO stopped while running", hint=hint, notes=[str(error)[:2000]]) from error


def to_tensor(array: Any) -> Any:
    """An OpenVINO tensor with a copy of the elements, of any element type that OpenVINO knows."""
    import openvino

    dtype = DType.from_numpy(array.dtype)
    name = _PACKED.get(dtype)
    if name is None:
        return openvino.Tensor(np.array(array, order="C"))
    tensor = openvino.Tensor(getattr(openvino.Type, name), openvino.Shape(list(array.shape)))
    raw = bytes(pack(array, dtype))
    tensor.data.reshape(-1).view(np.uint8)[: len(raw)] = np.frombuffer(raw, np.uint8)
    return tensor


def from_tensor(tensor: Any) -> Any:
    """A copy of the elements of an OpenVINO tensor."""
    kind = tensor.element_type.to_string()
    for dtype, name in _PACKED.items():
        if name == kind or f"f8{name[2:]}" == kind:
            return np.array(unpack(tensor.data.tobytes(), dtype, tuple(tensor.shape)))
    return tensor.data.copy()
