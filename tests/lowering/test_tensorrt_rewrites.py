"""What TensorRT refuses and is respelled for it: built for SM86, and compared with the operator itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorrt_rtx")

import edgec
from edgec.ir.dtypes import DType
from edgec.ir.graph import constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import Op
from edgec.ir.ops.binary import BitShift
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor
from edgec.ir.ops.pooling import AveragePool, LpPool, MaxPool
from edgec.ir.ops.selection import Compress, NonZero, Unique
from edgec.lowering.registry import backend
from tests.passes.decomposing import single


def built(folder: Path, op: Op, *operands: Any, outputs: int = 1, constants: tuple[int, ...] = ()) -> dict[str, Any]:
    """What the typed model gives, an engine having been built from it; the shapes and element types are those of the operator."""
    graph = single(op, list(operands), outputs, constants)
    feeds = {f"x{i}": array for i, array in enumerate(operands) if array is not None and i not in constants}
    expected = interpret(graph, feeds)
    bundle = edgec.compile(Model(graph), target="tensorrt", output=folder / "bundle", options={"optimization_level": 0})
    assert [engine["capabilities"] for engine in bundle.manifest["lowering"]["engines"]] == [["SM86"]]
    found = edgec.load_bundle(bundle.folder, reference=True).run(feeds)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype and found[name].shape == want.shape
        rounding = 1e-5 if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(found[name], want, rtol=rounding, atol=rounding, err_msg=name)
    return found


def image(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("attributes", [{}, {"pads": (1, 1, 1, 1), "strides": (2, 2)}, {"dilations": (2, 2), "ceil_mode": 1}])
def test_places_of_the_greatest_elements(tmp_path: Path, order: int, attributes: dict[str, Any]) -> None:
    x = np.round(image(2, 3, 7, 6) * 2)  # with equal elements
    built(tmp_path, MaxPool((3, 2), storage_order=order, **attributes), x, outputs=2)


def test_places_lie_inside_the_image(tmp_path: Path) -> None:
    x = np.full((1, 1, 3, 3), -np.inf, np.float32)
    op = MaxPool((2, 2), pads=(1, 1, 1, 1), strides=(2, 2))
    graph = single(op, [x], 2)
    bundle = edgec.compile(Model(graph), target="tensorrt", output=tmp_path / "bundle")
    places = edgec.load_bundle(bundle.folder, reference=True).run({"x0": x})["y1"]
    np.testing.assert_array_equal(places, [[[[0, 1], [3, 4]]]])


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((60, 20), dilations=(3, 2), strides=(5, 4)),
        AveragePool((3, 5), dilations=(2, 2), pads=(1, 0, 2, 3), ceil_mode=1, strides=(3, 2)),
        AveragePool((3, 5), dilations=(2, 2), pads=(1, 0, 2, 3), count_include_pad=1),
        LpPool((3, 4), p=3, dilations=(2, 2)),
    ],
    ids=["wide", "average", "with pads", "powers"],
)
def test_spread_windows_are_folded_along_one_axis_after_another(tmp_path: Path, op: Op) -> None:
    built(tmp_path, op, image(1, 2, 200, 60))


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_powers_of_two_travel_in_float32(tmp_path: Path, mode: str, saturate: int) -> None:
    x = np.concatenate([np.ldexp(np.full(277, m), np.arange(-149, 128)) for m in (1, 1.25, 1.5, 1.75, 2 - 2**-23)])
    x = np.concatenate([x.astype(np.float32), -x.astype(np.float32), np.array([0, np.inf, -np.inf, np.nan], np.float32)])
    op = Cast(to=DType.FLOAT8E8M0, round_mode=mode, saturate=saturate)
    bundle = edgec.compile(Model(single(op, [x])), target="tensorrt", output=tmp_path / "bundle", options={"optimization_level": 0})
    found = edgec.load_bundle(bundle.folder, reference=True).run({"x0": x})["y0"]
    np.testing.assert_array_equal(found.view(np.uint8), op.evaluate(x).view(np.uint8))


def test_powers_of_two_come_in(tmp_path: Path) -> None:
    built(tmp_path, Cast(to=DType.FLOAT), np.arange(256, dtype=np.uint8).view(DType.FLOAT8E8M0.numpy))


@pytest.mark.parametrize("op", [NonZero(), Compress(), Unique()], ids=["NonZero", "Compress", "Unique"])
def test_results_as_long_as_the_data_have_it_are_refused_as_such(op: Op) -> None:
    operands = [image(3, 4), *([np.array([True, False, True])] if isinstance(op, Compress) else [])]
    node = next(iter(single(op, operands)))
    verdict = backend("tensorrt").support(node)
    assert verdict.level == "none" and verdict.code == "operator" and "depends on the data" in verdict.reason
    assert "parser and builder of" in verdict.evidence


def words(dtype: Any) -> Any:
    """Integers from everywhere in a type; of uint64 those that int64 holds."""
    limits = np.iinfo(dtype)
    high = min(int(limits.max), 2**63 - 1)
    edges = [limits.min, limits.min + 1, 0, 1, 2, 3, high - 1, high, high // 2, high // 2 + 1, high // 3]
    drawn = np.random.default_rng(0).integers(limits.min, high, 53, dtype=np.int64 if limits.min < 0 else np.uint64)
    return np.concatenate([np.array(edges, dtype), drawn.astype(dtype)])


INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", [BitwiseAnd(), BitwiseOr(), BitwiseXor()], ids=["and", "or", "xor"])
def test_bits_are_looked_up_in_tables(tmp_path: Path, op: Op, dtype: Any) -> None:
    built(tmp_path, op, words(dtype)[:, None], words(dtype)[::5])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bits_are_shifted_by_arithmetic(tmp_path: Path, direction: str, dtype: Any) -> None:
    width = np.iinfo(dtype).bits
    counts = [0, 1, 2, 7, width // 2, width - 2, width - 1, width, width + 1, 100, *([-1, -9] if np.iinfo(dtype).min < 0 else [])]
    built(tmp_path, BitShift(direction), words(dtype)[:, None], np.array(counts, dtype))


def test_large_unsigned_words_are_shifted(tmp_path: Path) -> None:
    """Beyond int64 they arise inside a model only."""
    graph = single(BitShift("LEFT"), [np.array([3, 2**62 + 1], np.uint64), np.array([[1], [62]], np.uint64)])
    graph.set_outputs([graph.add(BitShift("RIGHT"), graph.outputs[0], constant(np.array([[[3]], [[1]], [[0]]], np.uint64)))], ["y"])
    feeds = {"x0": np.array([3, 2**62 + 1], np.uint64), "x1": np.array([[1], [62]], np.uint64)}
    expected = interpret(graph, feeds)["y"]
    bundle = edgec.compile(Model(graph), target="tensorrt", output=tmp_path / "bundle", options={"optimization_level": 0})
    np.testing.assert_array_equal(edgec.load_bundle(bundle.folder, reference=True).run(feeds)["y"], expected)
