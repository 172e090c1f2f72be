"""Calibrated targets: the file, and predictions from coefficients."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgec.costmodel.calibrated import (
    CalibratedTarget,
    ClassCoefficients,
    ClassScalar,
    is_calibrated,
    load_calibrated,
    save_calibrated,
)
from edgec.costmodel.compiled import CompiledSchedule
from edgec.costmodel.features import feature_rows
from edgec.costmodel.model import MicrobenchmarkModel
from edgec.costmodel.predict import predict
from edgec.costmodel.roofline import roofs_of
from edgec.costmodel.schedule import build_schedule
from edgec.ir.diagnostics import Diagnostic
from tests.costmodel.samples import engine, memory, mlp, quantity, single, target

HOST = target(
    engine(
        name="cpu",
        kind="cpu",
        memory=(memory("L2", 1 << 20, 1e11), memory("DRAM", 8e9, 1e10)),
        dispatch_s=quantity(1e-6, "s"),
        run_s=quantity(4e-6, "s", 0.1),
    )
)
COEFFICIENTS = (
    ClassCoefficients("gemm", "f32", "", 2e-6, {"macs": 1e-11, "padded": 2e-11}, {"DRAM": 1e-10}, 1.0, (0.9, 1.1), 0.5, 40, 0.04),
    ClassCoefficients("gemv", "f32", "", 3e-6, {"macs": 7e-11}, {"L2": 1e-11}, 1.0, (0.9, 1.1)),
    ClassCoefficients("conv-direct", "f32", "pointwise", 1e-6, {"macs": 5e-11}),
    ClassCoefficients("conv-direct", "f32", "", 1e-6, {"macs": 4e-11}),
    ClassCoefficients("gemm", "i8", "", 2e-6, {"macs": 3e-12}),
)
CALIBRATED = CalibratedTarget(
    HOST,
    "ort",
    1,
    COEFFICIENTS,
    (ClassScalar("elementwise", "f32", 3.0, (0.7, 1.5), 12),),
    0.1,
    (0.97, 1.04),
    {"processor": 'a "test"\nhost'},
)


def test_the_file_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    save_calibrated(CALIBRATED, path)
    first = path.read_bytes()
    assert is_calibrated(path) and load_calibrated(path) == CALIBRATED
    save_calibrated(load_calibrated(path), path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "old, new, text",
    [
        ("threads = 1", "threads = 'one'", "threads is 'one'"),
        ("threads = 1\n", "", "threads is missing"),
        ("threads = 1", "threads = 1\nthraeds = 2", "thraeds is not known"),
        ('kernel = "gemv"', 'kernel = "gevm"', "'gevm' is no kernel class"),
        ("macs = 7e-11", "mcas = 7e-11", "'mcas' is no feature"),
        ("macs = 7e-11", "macs = -7e-11", "negative"),
        ("macs = 7e-11", "macs = nan", "not finite"),
        ("L2 = 1e-11", "L9 = 1e-11", "'L9' is no feature or memory level"),
        ("edgec.calibrated/1", "edgec.calibrated/0", "schema"),
        ("[target]", "[target", "Expected"),
        ('kind = "cpu"', 'kind = "abacus"', "kind is 'abacus'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = tmp_path / "host.toml"
    save_calibrated(CALIBRATED, path)
    written = path.read_text()
    assert old in written
    path.write_text(written.replace(old, new, 1))
    with pytest.raises(Diagnostic) as caught:
        load_calibrated(path)
    assert caught.value.code == "E1015" and text in caught.value.message and str(path) in caught.value.where


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert not is_calibrated(tmp_path / "none.toml")
    with pytest.raises(Diagnostic, match="No such file"):
        load_calibrated(tmp_path / "none.toml")


def test_coefficients_times_features() -> None:
    found = predict(single("MatMul", (32, 48), (48, 20), constants=(1,)), CALIBRATED)
    macs = 32 * 48 * 20
    node = found.nodes[0]
    assert found.tier == node.tier == "microbenchmark"
    assert node.seconds[1] == pytest.approx(2e-6 + macs * 3e-11)
    assert node.seconds[0] == pytest.approx(node.seconds[1] * 0.9) and node.seconds[2] == pytest.approx(node.seconds[1] * 1.1)
    assert found.seconds[1] == pytest.approx(node.seconds[1] + 4e-6)


def test_bytes_that_come_from_afar() -> None:
    found = predict(single("MatMul", (16, 2048), (2048, 2048), constants=(1,)), CALIBRATED)
    moved = found.nodes[0].traffic["DRAM"]
    assert moved >= 2048 * 2048 * 4
    assert found.nodes[0].seconds[1] == pytest.approx(2e-6 + 16 * 2048 * 2048 * 3e-11 + moved * 1e-10)


def test_variants_and_element_types_have_their_own_coefficients() -> None:
    pointwise = predict(single("Conv", (1, 16, 8, 8), (16, 16, 1, 1), constants=(1,)), CALIBRATED).nodes[0]
    square = predict(single("Conv", (1, 16, 10, 10), (16, 16, 3, 3), constants=(1,)), CALIBRATED).nodes[0]
    assert pointwise.seconds[1] == pytest.approx(1e-6 + pointwise.macs * 5e-11)
    assert square.seconds[1] == pytest.approx(1e-6 + square.macs * 4e-11)
    narrow = predict(single("MatMul", (32, 48), (48, 20), constants=(1,)), CALIBRATED, precision="i8").nodes[0]
    assert narrow.seconds[1] == pytest.approx(2e-6 + narrow.macs * 3e-12)


def test_one_row_of_a_symbolic_size_is_a_vector() -> None:
    one, two = (predict(mlp(layers=1), CALIBRATED, {"batch": b}).nodes[0].seconds[1] for b in (1, 2))
    assert one == pytest.approx(3e-6 + 64 * 64 * 7e-11 + (64 * 64 + 128) * 4 * 1e-11, rel=0.05)
    assert two == pytest.approx(2e-6 + 2 * 64 * 64 * 3e-11)


def test_classes_without_coefficients_fall_back() -> None:
    """To a factor on the roofline, then to the bare roofline with its wider interval."""
    spec, scaled = (predict(single("Relu", (1 << 22,)), CALIBRATED, tier=t).nodes[0] for t in ("spec", "microbenchmark"))
    assert scaled.seconds[1] - 1e-6 == pytest.approx(3.0 * (spec.seconds[1] - 1e-6))
    softmax = [predict(single("Softmax", (64, 64)), CALIBRATED, tier=t).nodes[0].seconds for t in ("spec", "microbenchmark")]
    assert softmax[0] == softmax[1]
    bare = dataclasses.replace(CALIBRATED, coefficients=())
    assert predict(single("Relu", (64,)), bare).tier == "scalar"


def test_many_points_choose_by_row() -> None:
    compiled = CompiledSchedule(build_schedule(mlp(layers=1)))
    estimate = MicrobenchmarkModel(CALIBRATED).estimate(compiled.at({"batch": [1, 2, 1]}), roofs_of(HOST.engines[0]))
    assert estimate.expected[0, 0] == estimate.expected[0, 2] != estimate.expected[0, 1]
    assert np.all(estimate.low <= estimate.expected) and np.all(estimate.expected <= estimate.high)


def test_rows_for_a_fit_give_back_the_prediction() -> None:
    compiled = CompiledSchedule(build_schedule(mlp(batch=32, layers=2)))
    rows = feature_rows(compiled.at({}), roofs_of(HOST.engines[0]))
    predicted = predict(compiled, CALIBRATED).nodes
    assert [r.name for r in rows] == [n.name for n in predicted]
    for row, node in zip(rows, predicted, strict=True):
        entry = CALIBRATED.find(row.kernel, row.variant, row.dtype)
        if entry is not None:
            compute = sum(entry.compute.get(k, 0.0) * v for k, v in row.compute.items())
            moved = sum(entry.memory.get(k, 0.0) * v for k, v in row.memory.items())
            assert node.seconds[1] == pytest.approx(entry.constant + compute + moved)
    assert rows[0].compute["macs"] == 32 * 64 * 64
