"""Stored weights: the blob format, compressed forms, quantised values."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

import coremltools as ct
import coremltools.optimize.coreml as cto
from coremltools.converters.mil.mil import types
from coremltools.libmilstoragepython import _BlobStorageWriter

from edgec.ir.diagnostics import Diagnostic
from edgec.lowering.coreml.evaluator import PackageEvaluator
from edgec.lowering.coreml.evaluator.blobs import BlobFile
from edgec.lowering.coreml.evaluator.values import BY_NAME
from tests.lowering.coreml_programs import evaluate, mb, random, save

F = np.float32
WRITERS = {"fp16": "fp16", "fp32": "float"}
STORED = ["fp16", "fp32", "int8", "uint8", "int16", "uint16", "int32", "uint32", "uint1", "uint2", "uint3", "uint4", "uint6", "int4"]


@pytest.mark.parametrize("name", STORED)
def test_blobs_of_every_type_are_read_as_written(tmp_path, name):
    element, rng = BY_NAME[name], np.random.default_rng(0)
    if element.stored.kind == "f":
        values = rng.normal(size=(7, 5)).astype(element.stored)
    else:
        low = -(1 << (element.bits - 1)) if element.signed else 0
        values = rng.integers(low, low + (1 << element.bits), (7, 5)).astype(element.stored)
        values.flat[:2] = low, low + (1 << element.bits) - 1
    path = tmp_path / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    write = getattr(writer, f"write_{WRITERS.get(name, name)}_data")
    flat = values.reshape(-1)
    offsets = [write(flat.view(np.uint16) if name == "fp16" else flat) for _ in range(2)]
    del writer
    blobs = BlobFile(path)
    for offset in offsets:
        got = blobs.read(offset, name, element.stored, (7, 5), element.bits, element.signed)
        assert got.dtype == element.stored
        np.testing.assert_array_equal(got, values)
    with pytest.raises(Diagnostic, match="E0540"):
        blobs.read(offsets[1], name, element.stored, (7, 6), element.bits, element.signed)
    with pytest.raises(Diagnostic, match="E0540"):
        blobs.read(64 * 1000, name, element.stored, (7, 5), element.bits, element.signed)


def _constexpr(op: str, opset: int, folder: Path, **operands: Any) -> tuple[Any, Any]:
    """A saved compressed weight as evaluated, and as coremltools decompresses it."""

    def build(x):
        weight = getattr(mb, op)(**operands)
        expected.append(weight.op.materialized_val_inference())
        return mb.add(x=mb.reduce_sum(x=weight), y=x)

    expected: list[Any] = []
    evaluator = PackageEvaluator(save(build, {"x": random(1)}, folder, opset))
    name = next(n for step in evaluator._program.steps if step.type == op for n, _ in step.outputs)
    return evaluator.tensors({"x": random(1)}, [name])[name], expected[0]


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_affine_weights(tmp_path, axis, dtype):
    data = np.random.default_rng(0).integers(0, 120, (6, 8)).astype(dtype)
    scale, zero = (F(0.5), dtype(3)) if axis is None else (random(8, low=0.1), np.arange(8).astype(dtype))
    operands = {"quantized_data": data, "zero_point": zero, "scale": scale, "axis": np.int32(axis or 0)}
    got, expected = _constexpr("constexpr_affine_dequantize", 16, tmp_path, **operands)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettes_of_ios16(tmp_path, bits):
    indices = np.random.default_rng(0).integers(0, 1 << bits, 5 * 7).astype(np.uint8)
    stream = np.unpackbits(indices[:, None], axis=1, bitorder="little")[:, :bits].reshape(-1)
    packed = np.packbits(stream, bitorder="little")
    lut = random(1 << bits)
    got, expected = _constexpr("constexpr_lut_to_dense", 16, tmp_path, indices=packed, lut=lut, shape=np.array([5, 7], np.uint32))
    np.testing.assert_array_equal(got, lut[indices].reshape(5, 7))
    np.testing.assert_array_equal(got, expected)


def test_sparse_weights_of_ios16(tmp_path):
    dense = random(6, 10) * (np.random.default_rng(1).uniform(size=(6, 10)) > 0.6)
    operands = {
        "nonzero_data": dense[dense != 0],
        "mask": np.packbits(dense != 0, bitorder="little"),
        "shape": np.array([6, 10], np.uint32),
    }
    got, expected = _constexpr("constexpr_sparse_to_dense", 16, tmp_path, **operands)
    np.testing.assert_array_equal(got, dense)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("element", ["int8", "uint4", "int4"])
def test_blockwise_weights(tmp_path, element, offset):
    stored = types.nptype_from_builtin(types.string_to_builtin(element))
    data = np.random.default_rng(0).integers(-8 if element == "int4" else 0, 8, (6, 8)).astype(stored)
    operands = {"data": data, "scale": random(3, 2, low=0.1)}
    if offset:
        operands["offset"] = np.arange(6).reshape(3, 2).astype(stored)
    got, expected = _constexpr("constexpr_blockwise_shift_scale", 18, tmp_path, **operands)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.shape == (6, 8)


@pytest.mark.parametrize(
    ("groups", "vector", "axis"), [((1, 1), 1, None), ((3, 1), 1, None), ((3, 2), 1, None), ((1, 1), 3, 0), ((3, 2), 2, 1)]
)
def test_grouped_and_vector_palettes(tmp_path, groups, vector, axis):
    indices = np.random.default_rng(0).integers(0, 4, (6, 8)).astype(types.np_uint2_dtype)
    operands = {"indices": indices, "lut": random(*groups, 4, vector)}
    if axis is not None:
        operands["vector_axis"] = np.int32(axis)
    got, expected = _constexpr("constexpr_lut_to_dense", 18, tmp_path, **operands)
    np.testing.assert_array_equal(got, expected)


def test_sparse_palettes_and_sparse_blocks(tmp_path):
    rng = np.random.default_rng(0)
    mask = (rng.uniform(size=(4, 6)) > 0.5).astype(types.np_uint1_dtype)
    count = int(mask.astype(int).sum())
    lut, data, scale = random(1, 1, 4, 1), rng.integers(0, 100, count).astype(np.int8), random(2, 6, low=0.1)
    indices = rng.integers(0, 4, count).astype(types.np_uint2_dtype)

    def build(x):
        palette_mask, palette = mb.constexpr_lut_to_sparse(indices_mask=mask, indices_nonzero_data=indices, lut=lut)
        block_mask, blocks = mb.constexpr_sparse_blockwise_shift_scale(data_mask=mask, nonzero_data=data, scale=scale)
        first = mb.constexpr_sparse_to_dense(nonzero_data=palette, mask=palette_mask)
        second = mb.constexpr_sparse_to_dense(nonzero_data=blocks, mask=block_mask)
        return [mb.add(x=first, y=x), mb.add(x=second, y=x)]

    palette, blocks = evaluate(build, {"x": np.zeros((4, 6), F)}, tmp_path, 18)
    dense = np.zeros((4, 6), F)
    dense[mask.astype(bool)] = lut.reshape(-1)[indices.astype(int)]
    np.testing.assert_array_equal(palette, dense)
    dense[mask.astype(bool)] = data
    np.testing.assert_allclose(blocks, dense * np.repeat(scale, 2, 0), rtol=1e-6)


def test_stored_halves_widen(tmp_path):
    half = random(3, 4).astype(np.float16)
    got, expected = _constexpr("constexpr_cast", 16, tmp_path, source_val=half, output_dtype="fp32")
    np.testing.assert_array_equal(got, half.astype(F))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("axis", [None, 1])
def test_dequantised_values(tmp_path, axis):
    x = random(2, 3, 4, low=-100, high=100)
    scale, zero = (F(0.5), np.int8(3)) if axis is None else (np.array([0.5, 0.25, 2], F), np.array([3, -4, 0], np.int8))
    parameters = {"scale": scale, "zero_point": zero} | ({} if axis is None else {"axis": np.int32(axis)})

    def build(x):
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **parameters), **parameters)

    (got,) = evaluate(build, {"x": x}, tmp_path)
    s, z = (np.reshape(v, (1, 3, 1)).astype(F) if axis is not None else F(v) for v in (scale, zero))
    steps = np.clip(np.rint(x / s) + z, -128, 127)
    np.testing.assert_array_equal(got, (steps - z) * s)


def _compressed(kind: str) -> Any:
    if kind == "int8":
        return cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
    if kind == "int4 blocks":
        return cto.OpLinearQuantizerConfig(mode="linear", dtype="int4", granularity="per_block", block_size=8, weight_threshold=0)
    return cto.OpPalettizerConfig(nbits=3, mode="uniform", granularity="per_grouped_channel", group_size=8, weight_threshold=0)


@pytest.mark.parametrize("kind", ["int8", "int4 blocks", "palettes"])
def test_weights_compressed_by_coremltools(tmp_path, kind):
    w, x = random(16, 32), random(4, 32, seed=1)
    path = save(lambda x: mb.linear(x=x, weight=w, name="y"), {"x": x}, tmp_path, 18)
    reference = PackageEvaluator(path).run({"x": x})["y"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ct.models.MLModel(str(path), skip_model_load=True)
        settings = cto.OptimizationConfig(global_config=_compressed(kind))
        compress: Any = cto.palettize_weights if kind == "palettes" else cto.linear_quantize_weights
        small: Any = compress(model, settings)
        small.save(str(tmp_path / "small.mlpackage"))
    evaluator = PackageEvaluator(tmp_path / "small.mlpackage")
    got = evaluator.run({"x": x})["y"]
    weight = next(n for step in evaluator._program.steps if step.type.startswith("constexpr_") for n, _ in step.outputs)
    stored = evaluator.tensors({"x": x}, [weight])[weight]
    np.testing.assert_allclose(got, x @ stored.T, rtol=1e-4, atol=1e-4)
    limit = {"int8": 0.01, "int4 blocks": 0.15, "palettes": 0.3}[kind]
    assert 0 < np.abs(got - reference).max() / np.abs(reference).max() < limit
