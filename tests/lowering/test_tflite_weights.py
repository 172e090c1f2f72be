"""Weights in fewer bits: sizes, errors, and what kernels make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import Op
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.types import TensorType
from edgec.lowering.artifact import Artifact
from edgec.lowering.registry import backend
from edgec.lowering.tflite import writer
from edgec.lowering.tflite.weights import quantised_in_blocks, quantised_symmetrically
from tests.lowering.tflite_quantized_graphs import lowered, run

RANDOM = np.random.default_rng(5)


def numbers(*shape: int) -> Any:
    return RANDOM.normal(0, 0.3, shape).astype(np.float32)


def single(op: Op, shape: tuple[int, ...], weight: Any, *others: Any, dtype: DType = DType.FLOAT) -> tuple[Model, dict[str, Any]]:
    """One operator with constant weights."""
    g = Graph()
    x = g.add_input("x", TensorType(dtype, shape))
    operands = [constant(weight), x] if isinstance(op, Gather) else [x, constant(weight), *map(constant, others)]
    g.set_outputs([g.add(op, *operands)], ["y"])
    feed = RANDOM.integers(0, 50, shape) if dtype is DType.INT64 else RANDOM.normal(size=shape).astype(np.float32)
    return Model(g), {"x": feed.astype(dtype.numpy)}


def cases() -> dict[str, tuple[Model, dict[str, Any], tuple[str, int | None]]]:
    """Models by name, with the kind of kernel for int8 and the axis of its scales in the model's own weights."""
    return {
        "conv": (*single(Conv(pads=(1, 1, 1, 1)), (1, 16, 9, 9), numbers(16, 16, 3, 3), numbers(16)), ("hybrid", 0)),
        "groups": (*single(Conv(group=2), (1, 32, 9, 9), numbers(32, 16, 3, 3)), ("hybrid", 0)),
        "depthwise": (*single(Conv(group=128), (1, 128, 7, 7), numbers(128, 1, 3, 3), numbers(128)), ("hybrid", 0)),
        "gemm": (*single(Gemm(transB=1), (4, 128), numbers(64, 128), numbers(64)), ("hybrid", 0)),
        "linear": (*single(MatMul(), (2, 5, 128), numbers(128, 64)), ("hybrid", 1)),
        "product": (*single(MatMul(), (2, 5, 128), numbers(2, 128, 64)), ("hybrid", None)),
        "transposed": (*single(ConvTranspose(strides=(2, 2)), (1, 16, 5, 5), numbers(16, 16, 3, 3)), ("dequantised", 1)),
        "gather": (*single(Gather(), (3,), numbers(50, 64), dtype=DType.INT64), ("dequantised", 0)),
    }


CASES = cases()


def with_weights(model: Model, change: Any) -> Model:
    """The model with other weights."""
    copy = model.copy()
    node = next(iter(copy.graph))
    place = 0 if isinstance(node.op, Gather) else 1
    old = node.inputs[place]
    assert old is not None and old.data is not None
    node.set_operand(place, constant(change(old.data.numpy())))
    return copy


def rounded(model: Model, axis: int | None, bits: int) -> Model:
    """The model with its weights rounded to integers times scales."""

    def change(array: Any) -> Any:
        whole, scale = quantised_symmetrically(array, axis, bits, "minmax")
        return (whole * scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])).astype(np.float32)

    return with_weights(model, change)


@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("name", CASES)
def test_float16(name: str, xnnpack: bool) -> None:
    model, feeds, _ = CASES[name]
    artifact, options = lowered(model, weights="f16", xnnpack=xnnpack)
    expected = interpret(with_weights(model, lambda a: a.astype(np.float16).astype(np.float32)).graph, feeds)["y"]
    np.testing.assert_allclose(run(artifact, options, feeds)["y"], expected, rtol=1e-4, atol=1e-4)
    assert artifact.facts["weights"]["effective_bits"] == {"float16": 16.0}


def activation_steps(model: Model, feeds: dict[str, Any]) -> Any:
    """How far a result may be off when its activations are rounded to 255 steps of their range."""
    x = feeds["x"]
    largest = with_weights(model, np.abs)
    step = (max(float(x.max()), 0.0) - min(float(x.min()), 0.0)) / 255
    node = next(iter(largest.graph))
    for place in range(2, len(node.inputs)):
        node.set_operand(place, None)
    return interpret(largest.graph, {"x": np.full_like(x, step)})["y"]


@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stored", ["int8", "int4"])
def test_integers_compute_with_the_rounded_weights(name: str, xnnpack: bool, stored: str) -> None:
    model, feeds, (kind, axis) = CASES[name]
    artifact, options = lowered(model, weights=stored, xnnpack=xnnpack)
    facts = artifact.facts["weights"]
    assert facts[kind] == 1
    bits = 4 if stored == "int4" and name in ("conv", "groups", "gemm", "linear") else 8
    assert list(facts["effective_bits"]) == [f"int{bits}"]
    expected = interpret(rounded(model, axis, bits).graph, feeds)["y"]
    found = run(artifact, options, feeds)["y"]
    if kind == "dequantised":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    else:
        assert (np.abs(found - expected) <= activation_steps(rounded(model, axis, bits), feeds) + 1e-4).all()
        assert np.abs(found - expected).max() > 0  # activations are quantised at run time
        assert "precision" in {loss.kind for loss in artifact.losses}
    assert "storage" in {loss.kind for loss in artifact.losses}


def size_of(artifact: Artifact, folder: Path) -> int:
    path = folder / "model.tflite"
    write = artifact.files["model.tflite"]
    assert callable(write)
    write(path)
    return path.stat().st_size


def test_files_of_weight_heavy_models_shrink(tmp_path: Path) -> None:
    model, _ = single(Gemm(transB=1), (1, 1024), numbers(512, 1024), numbers(512))
    sizes = {w: size_of(lowered(model, weights=w)[0], tmp_path) for w in ("keep", "f16", "int8", "int4")}
    assert sizes["keep"] / sizes["int8"] >= 3.8
    assert sizes["keep"] / sizes["int4"] >= 7.4
    assert 1.95 <= sizes["keep"] / sizes["f16"] <= 2.01


def test_effective_bits_count_the_scales() -> None:
    artifact, _ = lowered(CASES["gemm"][0], weights="int4")
    assert artifact.facts["weights"]["effective_bits"] == {"int4": 4 + 32 / 128}


@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("name", ["gemm", "linear"])
@pytest.mark.parametrize("block", [32, 128])
def test_blocks_of_four_bits(name: str, xnnpack: bool, block: int) -> None:
    model, feeds, (_, axis) = CASES[name]
    artifact, options = lowered(model, weights="int4", weight_block=block, xnnpack=xnnpack)
    assert artifact.facts["weights"]["effective_bits"] == {"int4": 4 + 16 / block}

    def change(array: Any) -> Any:
        found = quantised_in_blocks(array if axis == 0 else np.ascontiguousarray(array.T), block, "minmax")
        assert found is not None
        real = found[0] * np.repeat(found[1].astype(np.float32), block, axis=1)
        return np.ascontiguousarray(real if axis == 0 else real.T)

    reference = with_weights(model, change)
    off = np.abs(run(artifact, options, feeds)["y"] - interpret(reference.graph, feeds)["y"])
    assert (off <= activation_steps(reference, feeds) + 1e-4).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_least_squares_is_never_worse_than_extremes(bits: int, axis: int | None) -> None:
    random = np.random.default_rng(bits)
    for array in (random.normal(size=(6, 200)), random.standard_t(2, size=(6, 200)), np.zeros((3, 9)), np.full((2, 5), 1e-45)):
        array = array.astype(np.float32)
        errors = {}
        for choice in ("minmax", "mse"):
            whole, scale = quantised_symmetrically(array, axis, bits, choice)
            assert np.abs(whole).max() < 1 << (bits - 1)
            real = whole * scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
            errors[choice] = float(np.square(array - real).sum())
        assert errors["mse"] <= errors["minmax"] * (1 + 1e-6)


def test_least_squares_gains_on_outliers() -> None:
    array = np.random.default_rng(0).laplace(size=(8, 500)).astype(np.float32)
    errors = [np.square(array - w * s[:, None]).sum() for w, s in (quantised_symmetrically(array, 0, 4, c) for c in ("mse", "minmax"))]
    assert errors[0] < 0.8 * errors[1]


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    artifacts = [lowered(CASES["conv"][0], weights="int8", weight_scales="mse")[0] for _ in range(2)]
    contents = []
    for artifact in artifacts:
        size_of(artifact, tmp_path)
        contents.append((tmp_path / "model.tflite").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(("option", "value"), [("weights", "int3"), ("weight_scales", "best"), ("interface", "int4"), ("weight_block", 48)])
def test_unknown_settings_are_refused(option: str, value: str) -> None:
    with pytest.raises(Diagnostic, match=option):
        backend("tflite").options({option: value})


def test_the_limit_of_the_file_is_judged_by_what_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, _ = single(Gemm(transB=1), (1, 1024), numbers(512, 1024), numbers(512))
    written = {w: size_of(lowered(model, weights=w)[0], tmp_path) for w in ("keep", "f16", "int8", "int4")}
    for weights, size in written.items():
        monkeypatch.setattr(writer, "SIZE_LIMIT", size + 16384)  # the estimate of what stands beside the data is generous
        assert size_of(lowered(model, weights=weights)[0], tmp_path) == size
        monkeypatch.setattr(writer, "SIZE_LIMIT", size - 16384)
        with pytest.raises(Diagnostic) as caught:
            size_of(lowered(model, weights=weights)[0], tmp_path)
        assert caught.value.code == "E0510"


def test_weights_that_stay_are_judged_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = numbers(512, 1024)
    weight[0, 0] = np.inf  # has no scale and is no float16 number
    model, _ = single(Gemm(transB=1), (1, 1024), weight, numbers(512))
    monkeypatch.setattr(writer, "SIZE_LIMIT", weight.nbytes // 2)
    with pytest.raises(Diagnostic) as caught:
        lowered(model, weights="int8")
    assert caught.value.code == "E0510"


def test_equal_weights_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = numbers(512, 512)
    g = Graph()
    x = g.add_input("x", TensorType(DType.FLOAT, (1, 512)))
    first = g.add(Gemm(transB=1), x, constant(weight))
    g.set_outputs([g.add(Gemm(transB=1), first, constant(weight.copy()))], ["y"])
    monkeypatch.setattr(writer, "SIZE_LIMIT", weight.nbytes + 16384)
    lowered(Model(g))
