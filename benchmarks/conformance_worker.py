"""Worker of the conformance harness: runs one test case through one route and judges the outputs.

Started by ``conformance.py`` as a long-lived subprocess. It reads one JSON request per line from standard
input and answers with one JSON line on its original standard output; everything that libraries print goes to
standard error. A route is a callable ``(model, feeds, folder) -> outputs`` registered in :data:`ROUTES`: the
serialised ONNX model, input values by graph input name, an empty folder to work in, and the outputs in graph
order. It raises :class:`Refused` when the model cannot be taken, before anything was executed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import pickle
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Feeds = dict[str, Any]
Route = Callable[[bytes, Feeds, Path], list[Any]]
ROUTES: dict[str, Route] = {}
REASON_LIMIT = 600
# Lines of OpenVINO's exception texts that say where it was thrown rather than why.
BOILERPLATE = re.compile(r"Exception from |Check '.*' failed at |FrontEnd API failed|Model wasn't fully|Summary:|To facilitate ")


@dataclass
class Case:
    """One case of the suite: a model, its data sets of (inputs, expected outputs), and the tolerances."""

    name: str
    kind: str
    model: bytes
    data_sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


class Refused(Exception):
    """The route declines the model before running it; the text says why."""


class Mismatch(Exception):
    """The outputs differ from the expected ones; the text says where."""


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


# ---------------------------------------------------------------- comparison


def compare(expected: list[Any], actual: list[Any], rtol: float, atol: float) -> None:
    """Compare output lists strictly: count, kind, shape, dtype, then values within the tolerances.

    Raises:
        Mismatch: naming the first output that differs.
    """
    if len(expected) != len(actual):
        raise Mismatch(f"{len(actual)} outputs instead of {len(expected)}")
    for index, (want, got) in enumerate(zip(expected, actual, strict=True)):
        _compare_value(f"output {index}", want, got, rtol, atol)


def _compare_value(where: str, want: Any, got: Any, rtol: float, atol: float) -> None:
    if want is None or got is None:
        if not (_is_empty_optional(want) and _is_empty_optional(got)):
            raise Mismatch(f"{where}: {_kind(got)} instead of {_kind(want)}")
        return
    if isinstance(want, (list, tuple)) or isinstance(got, (list, tuple)):
        if not (isinstance(want, (list, tuple)) and isinstance(got, (list, tuple))) or len(want) != len(got):
            raise Mismatch(f"{where}: {_kind(got)} instead of {_kind(want)}")
        for index, (inner_want, inner_got) in enumerate(zip(want, got, strict=True)):
            _compare_value(f"{where}[{index}]", inner_want, inner_got, rtol, atol)
        return
    _compare_arrays(where, np.asarray(want), np.asarray(got), rtol, atol)


def _compare_arrays(where: str, want: np.ndarray, got: np.ndarray, rtol: float, atol: float) -> None:
    if want.shape != got.shape:
        raise Mismatch(f"{where}: shape {list(got.shape)} instead of {list(want.shape)}")
    if want.dtype.kind in "OUS" or got.dtype.kind in "OUS":
        if not (want.dtype.kind in "OUS" and got.dtype.kind in "OUS"):
            raise Mismatch(f"{where}: dtype {got.dtype} instead of {want.dtype}")
        if [_text(item) for item in want.ravel()] != [_text(item) for item in got.ravel()]:
            raise Mismatch(f"{where}: strings differ")
        return
    if want.dtype != got.dtype:
        raise Mismatch(f"{where}: dtype {got.dtype} instead of {want.dtype}")
    if is_exotic(want.dtype):
        if want.dtype.name == "bfloat16":
            rtol = max(rtol, 2**-6)
        want, got = want.astype(np.float32), got.astype(np.float32)
    with np.errstate(all="ignore"):
        close = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if not np.all(close):
        wrong = np.argwhere(~close)
        first = tuple(int(i) for i in wrong[0])
        raise Mismatch(
            f"{where}: {len(wrong)} of {want.size} values differ, first at {list(first)}: {got[first]!r} instead of {want[first]!r}"
        )


def _is_empty_optional(value: Any) -> bool:
    return value is None or (isinstance(value, np.ndarray) and value.dtype == object and value.item() is None)


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a sequence of {len(value)}"
    return "none" if value is None else "a tensor"


def _text(item: Any) -> str:
    return item.decode("utf-8") if isinstance(item, bytes) else str(item)


def is_exotic(dtype: np.dtype) -> bool:
    """Whether numpy itself lacks the dtype (bfloat16, float8, sub-byte integers and floats)."""
    return dtype.type.__module__.startswith("ml_dtypes")


# ---------------------------------------------------------------- parameters bound as constants

# Input slots that carry shapes, axes, counts and sizes rather than data.
PARAMETER_SLOTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2),
    "ConstantOfShape": (0,), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Dropout": (1, 2),
    "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "Loop": (0,), "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Resize": (1, 2, 3), "STFT": (1, 3), "SequenceAt": (1,), "SequenceErase": (1,), "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4), "Split": (1,), "SplitToSequence": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
for _kind_of_sum in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
    PARAMETER_SLOTS[f"Reduce{_kind_of_sum}"] = (1,)
# Integer arithmetic through which a shape may travel on its way to such a slot.
SHAPE_ARITHMETIC = frozenset(
    "Add Cast Concat Div Equal Gather Identity Max Min Mod Mul Neg Reshape Slice Sub Squeeze Unsqueeze Where".split()
)


# What a size may also travel through where it serves for arithmetic too.
SIZE_MOVEMENT = SHAPE_ARITHMETIC | {"Split"}


def bind_parameters(model: onnx.ModelProto, feeds: Feeds) -> Feeds:
    """Turn inputs that only carry shapes, axes and the like, and integers that become sizes, into initializers of ``model``, in place.

    Returns:
        The feeds that are left.
    """
    uses: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    outputs = {value.name for value in model.graph.output}
    _collect_uses(model.graph, uses, outputs)
    typed = {value.name: value for value in model.graph.input}
    passed: dict[str, list[str]] = {}
    _collect_results(model.graph, passed)
    bound: set[str] = set()
    for name, value in feeds.items():
        if not isinstance(value, np.ndarray) or typed[name].type.WhichOneof("value") != "tensor_type":
            continue
        integer = value.dtype.kind in "iu"
        number = value.dtype.kind in "iubf" or is_exotic(value.dtype)
        if number and _only_parameter(name, integer, uses, outputs, 0) or integer and _becomes_size(name, uses, passed, set()):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            bound.add(name)
    kept = [value for value in model.graph.input if value.name not in bound]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return {name: value for name, value in feeds.items() if name not in bound}


def _collect_uses(graph: onnx.GraphProto, uses: dict[str, list[tuple[onnx.NodeProto, int]]], outputs: set[str]) -> None:
    for node in graph.node:
        for slot, name in enumerate(node.input):
            uses.setdefault(name, []).append((node, slot))
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                outputs.update(value.name for value in inner.output)
                _collect_uses(inner, uses, outputs)


def _only_parameter(
    name: str,
    integer: bool,
    uses: dict[str, list[tuple[onnx.NodeProto, int]]],
    outputs: set[str],
    depth: int,
) -> bool:
    consumers = uses.get(name, [])
    if not consumers or name in outputs or depth > 8:
        return False
    for node, slot in consumers:
        if node.domain not in ("", "ai.onnx"):
            return False
        if slot in PARAMETER_SLOTS.get(node.op_type, ()):
            continue
        if not (integer and node.op_type in SHAPE_ARITHMETIC):
            return False
        if not all(_only_parameter(output, integer, uses, outputs, depth + 1) for output in node.output):
            return False
    return True


def _collect_results(graph: onnx.GraphProto, passed: dict[str, list[str]]) -> None:
    """What the results of branches are called outside."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if node.op_type == "If":
                    for value, name in zip(inner.output, node.output, strict=True):
                        passed.setdefault(value.name, []).append(name)
                _collect_results(inner, passed)


def _becomes_size(name: str, uses: dict[str, list[tuple[onnx.NodeProto, int]]], passed: dict[str, list[str]], seen: set[str]) -> bool:
    """Whether some way leads from an integer to a slot of `PARAMETER_SLOTS`."""
    if name in seen:
        return False
    seen.add(name)
    following = list(passed.get(name, []))
    for node, slot in uses.get(name, []):
        if slot in PARAMETER_SLOTS.get(node.op_type, ()):
            return True
        if node.op_type in SIZE_MOVEMENT and not (node.op_type == "Gather" and slot == 1):
            following += node.output
    return any(_becomes_size(output, uses, passed, seen) for output in following)


def _bound(model: bytes, feeds: Feeds) -> tuple[bytes, Feeds]:
    proto = onnx.load_from_string(model)
    left = bind_parameters(proto, feeds)
    return proto.SerializeToString(), left


# ---------------------------------------------------------------- routes


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
    return run_onnxruntime(*_bound(model, feeds))


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
    return run_openvino(*_bound(model, feeds))


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
    import edgec

    with _diagnostic_is_refusal():
        edgec.compile(_save(model, folder), target=target, output=folder / "bundle")
    with _refused_values():
        outputs = edgec.load_bundle(folder / "bundle").run(feeds)
    return [outputs[value.name] for value in onnx.load_from_string(model).graph.output]


@route("edgec-ort")
def route_edgec_ort(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec compiles for target ``ort`` and runs the bundle."""
    return _edgec_bundle("ort", model, feeds, folder)


@route("edgec-openvino")
def route_edgec_openvino(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec compiles for target ``openvino`` and runs the bundle."""
    return _edgec_bundle("openvino", model, feeds, folder)


@route("edgec-coreml")
def route_edgec_coreml(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """Compiled by edgec for Core ML, its package evaluated operator by operator."""
    return _edgec_bundle("coreml", model, feeds, folder)


@route("edgec-tflite")
def route_edgec_tflite(model: bytes, feeds: Feeds, folder: Path) -> list[Any]:
    """edgec emits a .tflite file and runs it in LiteRT."""
    return _edgec_bundle("tflite", model, feeds, folder)


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
    return lambda model, feeds, folder: inner(*_bound(model, feeds), folder)


for _name in ("edgec-portable", "edgec-ort", "edgec-openvino", "edgec-tensorrt", "edgec-tflite", "edgec-coreml"):
    ROUTES[f"{_name}-bound"] = _with_bound_parameters(ROUTES[_name])


# ---------------------------------------------------------------- the worker loop


def judge(case: Case, function: Route) -> tuple[str, str]:
    """Run one case; returns (status, reason) with status pass, refused, wrong or error."""
    inputs = onnx.load_from_string(case.model).graph
    initialised = {tensor.name for tensor in inputs.initializer}
    names = [value.name for value in inputs.input if value.name not in initialised]
    try:
        for values, expected in case.data_sets:
            with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
                feeds = dict(zip(names, values, strict=False))
                compare(expected, function(case.model, feeds, Path(folder)), case.rtol, case.atol)
    except Refused as error:
        return "refused", str(error)
    except Mismatch as error:
        return "wrong", str(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return "error", f"{describe(error)} ({Path(frame.filename).name}:{frame.lineno})"
    return "pass", ""


def main() -> None:
    """Serve requests ``{"case": path, "route": name}`` until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for plugin in sys.argv[1:]:
        spec = importlib.util.spec_from_file_location(Path(plugin).stem, plugin)
        if spec is None or spec.loader is None:
            raise SystemExit(f"cannot load routes from {plugin}")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for line in sys.stdin:
        request = json.loads(line)
        case = Case(**pickle.loads(Path(request["case"]).read_bytes()))
        started = time.perf_counter()
        status, reason = judge(case, ROUTES[request["route"]])
        seconds = round(time.perf_counter() - started, 4)
        answer = {"status": status, "reason": reason[:REASON_LIMIT], "seconds": seconds}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    sys.modules["conformance_worker"] = sys.modules["__main__"]
    main()
