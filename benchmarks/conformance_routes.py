"""Ways to run a case of the conformance suite: the runtimes themselves, and edgec in front of them.

A route is a callable ``(model, feeds, folder) -> outputs`` registered in :data:`ROUTES`: the serialised ONNX model, input values by graph
input name, an empty folder to work in, and the outputs in graph order. It raises :class:`Refused` when the model cannot be taken, before
anything was executed.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conformance_binding import Feeds, with_bound_parameters  # noqa: E402
from conformance_compare import is_exotic  # noqa: E402

Route = Callable[[bytes, Feeds, Path], list[Any]]
ROUTES: dict[str, Route] = {}
# Lines of OpenVINO's exception texts that say where it was thrown rather than why.
BOILERPLATE = re.compile(r"Exception from |Check '.*' failed at |FrontEnd API failed|Model wasn't fully|Summary:|To facilitate ")


class Refused(Exception):
    """The route declines the model before running it; the text says why."""


def route(name: str) -> Callable[[Route], Route]:
    """Register a route under ``name``."""

    def register(function: Route) -> Route:
        ROUTES[name] = function
        return function

    return register


@contextlib.contextmanager
def refusal_on(*exceptions: type[BaseException]) -> Iterator[None]:
    """Turn the given exceptions into :class:`Refused`."""
    try:
        yield
    except exceptions as error:
        raise Refused(describe(error)) from error


def describe(error: BaseException) -> str:
    """One line with the type and the telling parts of an exception's text."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not BOILERPLATE.match(line)]
    return " | ".join([f"{type(error).__name__}: {told[0] if told else ''}", *told[1:]])


def run_onnxruntime(model: bytes | str, feeds: Feeds) -> list[Any]:
    """Run a model in ONNX Runtime (CPU, default optimisations, one thread)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with refusal_on(Exception):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    exotic = [value for value in feeds.values() if isinstance(value, np.ndarray) and is_exotic(value.dtype)]
    unusual = ("bfloat16", "float8", "int4", "int2", "float4")
    if not exotic and not any(part in output.type for output in session.get_outputs() for part in unusual):
        return list(session.run(None, feeds))
    values = {name: _to_ort(value) for name, value in feeds.items()}
    return [_from_ort(value) for value in session.run_with_ort_values(None, values)]


def _to_ort(array: Any) -> Any:
    """Copy an array of any ONNX dtype to an OrtValue; numpy-less dtypes travel as their packed bytes."""
    import onnxruntime

    if not isinstance(array, np.ndarray) or not is_exotic(array.dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    tensor = numpy_helper.from_array(array)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), tensor.data_type, "cpu")
    ctypes.memmove(value.data_ptr(), tensor.raw_data, len(tensor.raw_data))
    return value


def _from_ort(value: Any) -> Any:
    if not value.is_tensor() or value.element_type() == onnx.TensorProto.STRING:
        return value.numpy()
    size = value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    tensor = onnx.TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=raw)
    return numpy_helper.to_array(tensor)


@route("ort")
def route_ort(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """The original model in ONNX Runtime."""
    return run_onnxruntime(model, feeds)


@route("ort-bound")
def route_ort_bound(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """The original model in ONNX Runtime, parameters bound as constants."""
    return run_onnxruntime(*with_bound_parameters(model, feeds))


def run_openvino(model: bytes, feeds: Feeds) -> list[Any]:
    """Import a model with OpenVINO's own reader and run it on the CPU in float32 on one thread."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    with refusal_on(Exception):
        for name, value in feeds.items():
            if not isinstance(value, np.ndarray):
                raise TypeError(f"input '{name}' is a sequence or an optional")
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request = compiled.create_infer_request()
    for port, name in _openvino_ports(compiled.inputs, feeds):
        request.set_tensor(port, _to_openvino(feeds[name]))
    request.infer()
    return [_from_openvino(request.get_tensor(port)) for port in compiled.outputs]


def _openvino_ports(ports: list[Any], feeds: Feeds) -> Iterator[tuple[Any, str]]:
    """Pair input ports with feed names: by name, else the first feed left that fits.

    The importer drops inputs that nothing uses, and renames an input that goes straight to an output.
    """
    import openvino

    named = {id(port): name for port in ports for name in feeds if name in port.get_names()}
    left = [name for name in feeds if name not in named.values()]
    for port in ports:
        name = named.get(id(port))
        if name is None:
            shapes = {name: openvino.PartialShape(list(feeds[name].shape)) for name in left}
            name = next((name for name in left if port.get_partial_shape().compatible(shapes[name])), None)
            if name is None:
                raise LookupError(f"no input fits the port {sorted(port.get_names())}")
            left.remove(name)
        yield port, name


def _openvino_types() -> dict[str, Any]:
    from openvino import Type

    return {
        "bfloat16": Type.bf16, "float8_e4m3fn": Type.f8e4m3, "float8_e5m2": Type.f8e5m2, "int4": Type.i4,
        "uint4": Type.u4, "uint2": Type.u2, "float4_e2m1fn": Type.f4e2m1, "float8_e8m0fnu": Type.f8e8m0,
    }  # fmt: skip


def _to_openvino(array: np.ndarray) -> Any:
    import openvino

    if array.dtype == object:
        return openvino.Tensor(array.astype(str))
    if not is_exotic(array.dtype):
        return openvino.Tensor(np.array(array, order="C"))
    kind = _openvino_types().get(array.dtype.name)
    if kind is None:
        raise Refused(f"OpenVINO has no element type for {array.dtype}")
    value = openvino.Tensor(kind, openvino.Shape(list(array.shape)))
    raw = numpy_helper.from_array(array).raw_data
    value.data.reshape(-1).view(np.uint8)[: len(raw)] = np.frombuffer(raw, dtype=np.uint8)
    return value


def _from_openvino(value: Any) -> np.ndarray:
    import openvino

    if value.element_type == openvino.Type.string:
        return value.str_data.copy()
    names = {kind.to_string(): name for name, kind in _openvino_types().items()}
    name = names.get(value.element_type.to_string())
    if name is None:
        return value.data.copy()
    import ml_dtypes

    data_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(getattr(ml_dtypes, name)))
    tensor = onnx.TensorProto(data_type=data_type, dims=list(value.shape), raw_data=value.data.tobytes())
    return numpy_helper.to_array(tensor)


@route("openvino")
def route_openvino(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """The original model through OpenVINO's importer."""
    return run_openvino(model, feeds)


@route("openvino-bound")
def route_openvino_bound(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """The original model through OpenVINO's importer, parameters bound as constants."""
    return run_openvino(*with_bound_parameters(model, feeds))


@contextlib.contextmanager
def _diagnostic_is_refusal() -> Iterator[None]:
    from edgec.ir.diagnostics import Diagnostic

    try:
        yield
    except Diagnostic as error:
        raise Refused(f"{error.code}: {error.message}") from error


@contextlib.contextmanager
def _refused_values() -> Iterator[None]:
    """Numbers that the element types of a target cannot hold, such as float64 ones beyond float32, are refused when they are fed."""
    from edgec.ir.diagnostics import Diagnostic

    try:
        yield
    except Diagnostic as error:
        if error.code in ("E0505", "E0554") and "cannot hold these values" in error.message:
            raise Refused(f"{error.code}: {error.message}") from error
        raise


def _save(model: bytes, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path


@route("edgec-portable")
def route_edgec_portable(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec reads, optimises and writes a portable ONNX file, which ONNX Runtime runs."""
    import edgec

    result = folder / "optimised.onnx"
    with _diagnostic_is_refusal():
        edgec.optimize(edgec.load(_save(model, folder))).save(result)
    try:
        return run_onnxruntime(str(result), feeds)
    except Refused as error:
        raise RuntimeError(f"ONNX Runtime rejects the written model: {error}") from error


def _edgec_bundle(target: str, model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec compiles for a target and runs the bundle; packages for Core ML are evaluated operator by operator."""
    import edgec

    with _diagnostic_is_refusal():
        edgec.compile(_save(model, folder), target=target, output=folder / "bundle")
    with _refused_values():
        outputs = edgec.load_bundle(folder / "bundle").run(feeds)
    return [outputs[value.name] for value in onnx.load_from_string(model).graph.output]


def _bundle_route(target: str) -> Route:
    return lambda model, feeds, folder: _edgec_bundle(target, model, feeds, folder)


for _name in ("ort", "openvino", "coreml", "tflite"):
    ROUTES[f"edgec-{_name}"] = _bundle_route(_name)


@route("edgec-tensorrt")
def route_edgec_tensorrt(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec builds an engine for SM86 ahead of time; the typed ONNX model that it was built from runs in ONNX Runtime."""
    import edgec

    options = {"capabilities": "SM86", "optimization_level": 0}
    with _diagnostic_is_refusal():
        bundle = edgec.compile(_save(model, folder), target="tensorrt", output=folder / "bundle", options=options)
    if [engine["capabilities"] for engine in bundle.manifest["lowering"]["engines"]] != [["SM86"]]:
        raise RuntimeError("no engine was built")
    with _refused_values():
        outputs = edgec.load_bundle(folder / "bundle", reference=True).run(feeds)
    return [outputs[value.name] for value in onnx.load_from_string(model).graph.output]


def _with_bound_parameters(inner: Route) -> Route:
    return lambda model, feeds, folder: inner(*with_bound_parameters(model, feeds), folder)


for _name in ("edgec-portable", "edgec-ort", "edgec-openvino", "edgec-tensorrt", "edgec-tflite", "edgec-coreml"):
    ROUTES[f"{_name}-bound"] = _with_bound_parameters(ROUTES[_name])
