"""Real models quantised by ONNX Runtime, compiled for LiteRT, and compared with ONNX Runtime's result of the same quantised model.

Run: python benchmarks/quantized_models.py [--names mobilenetv2,magika] [--activations uint8|int8|int16] [--per-tensor] [--time] [--kernels]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

DEFAULT = "magika,mobilenetv2,resnet50,ppocrv4_rec,ppocrv6_rec"
SAMPLES = 4
OPSET = 17


def folder() -> Path:
    """Where the models lie."""
    return Path(os.environ.get("EDGEC_MODELS", Path.home() / ".cache" / "edgec" / "models"))


def located(name: str) -> tuple[Path, Path]:
    """A model and its inputs."""
    for model, inputs in (
        (folder() / f"{name}.onnx", folder() / "inputs" / f"{name}.npz"),
        (folder() / "exports" / f"{name}_ts.onnx", folder() / "exports" / f"{name}_ts.npz"),
    ):
        if model.exists() and inputs.exists():
            return model, inputs
    raise SystemExit(f"there is no model '{name}' with inputs under {folder()}")


def feeds_of(inputs: Path, names: list[str]) -> dict[str, Any]:
    """The recorded inputs by name."""
    with np.load(inputs) as arrays:
        stored = {key.removeprefix("in_").removeprefix("input:"): arrays[key] for key in arrays.files}
    found = {name: stored[name] for name in names if name in stored}
    return found if len(found) == len(names) else dict(zip(names, stored.values(), strict=False))


def quantised(model: Path, feeds: Mapping[str, Any], folder: Path, activations: str, per_channel: bool) -> Path:
    """The model quantised by ONNX Runtime, calibrated with its inputs and noisy variants of them."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from edgec.ir.serial.reader import read_model
    from edgec.ir.serial.writer import model_bytes

    random = np.random.default_rng(0)

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [noisy(feeds, random, index) for index in range(SAMPLES)]

        def get_next(self) -> Any:
            return self.left.pop(0) if self.left else None

    prepared, result = folder / "prepared.onnx", folder / "quantised.onnx"
    upgraded = folder / "upgraded.onnx"
    upgraded.write_bytes(model_bytes(read_model(model), opset=OPSET))
    quant_pre_process(str(upgraded), str(prepared), skip_symbolic_shape=True)
    kind = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8, "int16": QuantType.QInt16}[activations]
    extra = {"QDQDisableWeightAdjustForInt32Bias": True, "ActivationSymmetric": activations == "int16"}
    quantize_static(
        str(prepared),
        str(result),
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        extra_options=extra,
    )
    return result


def noisy(feeds: Mapping[str, Any], random: np.random.Generator, index: int) -> dict[str, Any]:
    """The feeds themselves, or real ones with noise."""
    return {
        name: a if index == 0 or a.dtype.kind != "f" else (a + random.normal(0, 0.1 * float(a.std()) + 1e-6, a.shape)).astype(a.dtype)
        for name, a in feeds.items()
    }


def session_of(path: Path, optimised: bool = False) -> Any:
    """ONNX Runtime, without optimisations unless stated, so that it computes what the model says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def steps_of(path: Path) -> list[float]:
    """The scale of each output of a quantised model, NaN where it is not quantised."""
    import onnx

    graph = onnx.load(str(path)).graph
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    result = []
    for output in graph.output:
        node = producers.get(output.name)
        quantises = node is not None and node.op_type == "DequantizeLinear"
        result.append(float(numbers[node.input[1]]) if quantises and node is not None else float("nan"))
    return result


def median_ms(run: Any, feeds: Mapping[str, Any], count: int = 9) -> float:
    """The median time of some runs in milliseconds."""
    run(feeds)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run(feeds)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def own_errors(file: Path, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """How far pointwise convolutions are from the exact sums of their own operands, in steps of their results (builtin kernels).

    Results at the ends of the range are left out: activations may have limited them.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(file), experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feeds[detail["name"]])
    interpreter.invoke()
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}

    def real(index: int) -> Any:
        parameters = tensors[index]["quantization_parameters"]
        array = interpreter.get_tensor(index).astype(np.float64)
        shape = [-1 if axis == parameters["quantized_dimension"] else 1 for axis in range(array.ndim)]
        scales, zeros = (np.asarray(parameters[key], np.float64) for key in ("scales", "zero_points"))
        return (array - zeros.reshape(shape)) * scales.reshape(shape) if len(scales) > 1 else (array - zeros[0]) * scales[0]

    greatest, squares, count = 0.0, 0.0, 0
    for operator in interpreter._get_ops_details():
        x, w, bias = [*operator["inputs"], -1, -1][:3]
        if operator["op_name"] != "CONV_2D" or bias < 0 or tuple(tensors[w]["shape"][1:3]) != (1, 1):
            continue
        (y,) = operator["outputs"]
        step = float(tensors[y]["quantization_parameters"]["scales"][0])
        found, exact = real(y) / step, real(x) @ real(w)[:, 0, 0, :].T + real(bias)
        if found.shape != exact.shape:
            continue  # strides
        inside = (found > found.min()) & (found < found.max())
        error = (found - exact / step)[inside]
        greatest, squares, count = max(greatest, float(np.abs(error).max())), squares + float((error**2).sum()), count + error.size
    return {"greatest": greatest, "rms": float(np.sqrt(squares / max(count, 1)))}


def examine(name: str, activations: str, per_channel: bool, timed: bool, kernels: bool = False) -> dict[str, Any]:
    """Quantise, compile, run and compare one model."""
    import edgec

    model, inputs = located(name)
    with TemporaryDirectory() as place:
        work = Path(place)
        feeds = feeds_of(inputs, [i.name for i in session_of(model).get_inputs()])
        dims = {i.name: feeds[i.name].shape for i in session_of(model).get_inputs()}
        source = quantised(model, feeds, work, activations, per_channel)
        reference = session_of(source)
        names = [o.name for o in reference.get_outputs()]
        try:
            results = reference.run(None, feeds)
        except Exception:
            if not per_channel:
                raise
            print(f"{name}: what is quantised per channel does not run in ONNX Runtime; per tensor instead", file=sys.stderr)
            return examine(name, activations, False, timed, kernels)
        integers = session_of(source, optimised=True).run(None, feeds)
        expected = dict(zip(names, results, strict=True))
        start = time.perf_counter()
        bundle = edgec.compile(str(source), target="tflite", output=work / "bundle", dims=bound(source, dims))
        seconds = time.perf_counter() - start
        found = bundle.run(feeds)
        lowering = bundle.manifest["lowering"]
        floats = lowering["quantisation"]["float_operators"]
        row = {
            "model": name,
            "per_channel": per_channel,
            "operators": lowering["operators"],
            "integer": lowering["quantisation"]["integer_operators"],
            "float": len(floats),
            "why": dict(Counter(f"{f['operator']}: {f['reason']}" for f in floats).most_common(6)),
            "steps": [float(np.abs(found[n] - expected[n]).max() / s) for n, s in zip(names, steps_of(source), strict=True)],
            "steps_of_ort": [float(np.abs(a - expected[n]).max() / s) for n, a, s in zip(names, integers, steps_of(source), strict=True)],
            "same_choice": [bool((found[n].argmax(-1) == expected[n].argmax(-1)).all()) for n in names],
            "seconds": seconds,
            "bytes": (work / "bundle" / "model.tflite").stat().st_size,
            "original_bytes": model.stat().st_size,
        }
        if kernels:
            row["kernels"] = own_errors(work / "bundle" / "model.tflite", feeds)
        if timed:
            plain = edgec.compile(str(model), target="tflite", output=work / "plain", dims=bound(model, dims))
            row["ms"], row["float_ms"] = median_ms(bundle.run, feeds), median_ms(plain.run, feeds)
        return row


def bound(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes for the symbolic dimensions of a model's inputs."""
    from edgec.ir.serial.reader import read_model

    return {
        str(dim): int(size)
        for value in read_model(path).graph.inputs
        for dim, size in zip(value.shape or (), shapes[value.name], strict=True)
        if not isinstance(dim, int)
    }


def main() -> None:
    """Print one line of JSON per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default=DEFAULT)
    parser.add_argument("--activations", default="uint8", choices=("uint8", "int8", "int16"))
    parser.add_argument("--per-tensor", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--kernels", action="store_true", help="the own errors of pointwise convolutions too")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    for name in chosen.names.split(","):
        print(json.dumps(examine(name, chosen.activations, not chosen.per_tensor, chosen.time, chosen.kernels)), flush=True)


if __name__ == "__main__":
    main()
