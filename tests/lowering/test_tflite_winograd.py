"""Convolutions by minimal filtering in LiteRT: the same numbers, where it takes less time."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Relu
from edgec.ir.ops.conv import Conv
from edgec.ir.types import TensorType

pytest.importorskip("ai_edge_litert")

import edgec  # noqa: E402
from edgec.ir.dims import symbol  # noqa: E402
from edgec.lowering.tflite.emit import winograd  # noqa: E402
from edgec.lowering.tflite.emit.minimal_filtering import minimal_filtering  # noqa: E402
from edgec.lowering.tflite.emit.winograd_tiling import Plane, Tiling, growth, tiling_of  # noqa: E402

TILINGS = [Tiling(2, 1), Tiling(4, 1), Tiling(1, 2), Tiling(1, 4), Tiling(2, 2), Tiling(4, 2), Tiling(2, 4)]


def convolution(shape, filters: int = 8, kernel=(3, 3), pads=None, relu: bool = True, bias: bool = True, **attributes) -> Graph:
    generator = np.random.default_rng(5)
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, shape))
    taps = generator.standard_normal((filters, shape[1], *kernel)) / np.sqrt(shape[1] * np.prod(kernel))
    pads = tuple((k - 1) // 2 for k in kernel) * 2 if pads is None else pads
    operands = [constant(taps.astype(np.float32), "w")]
    if bias:
        operands.append(constant(generator.standard_normal(filters).astype(np.float32), "b"))
    y = graph.add(Conv(pads=pads, **attributes), x, *operands)
    graph.set_outputs([graph.add(Relu(), y) if relu else y], ["y"])
    return graph


def check(graph: Graph, folder, batch: int = 1, **options) -> list[str]:
    """Compile, compare with the interpreter, and give the operators."""
    shape = [batch if not isinstance(d, int) else d for d in graph.inputs[0].shape]
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    bundle = edgec.compile(Model(graph), target="tflite", output=folder / "bundle", options=options)
    expected = interpret(graph, feeds)["y"]
    found = bundle.run(feeds)["y"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    counts = bundle.manifest["lowering"]["operators"]
    return [name for name, count in counts.items() for _ in range(count)]


@pytest.fixture
def always(monkeypatch):
    """Takes one tiling whatever it costs."""

    def use(tiling: Tiling) -> None:
        monkeypatch.setattr(winograd, "tiling_of", lambda plane: tiling)

    return use


@pytest.mark.parametrize(("results", "taps"), [(2, 3), (4, 3), (2, 5)])
def test_fewer_products_give_what_a_filter_gives(results, taps) -> None:
    generator = np.random.default_rng(2)
    found = minimal_filtering(results, taps)
    data, weights = generator.standard_normal(found.products), generator.standard_normal(taps)
    products = (found.data @ data) * (found.taps @ weights)
    assert found.products == results + taps - 1 < results * taps
    for k in range(results):
        total = products[0] * (k == 0) + products[-1] * (k == results - 1)
        for i, p in enumerate(found.pairs):
            total += p**k * (products[1 + 2 * i] + (-1) ** k * products[2 + 2 * i])
        assert total == pytest.approx(np.dot(data[k : k + taps], weights), abs=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 14)])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_tiles_give_the_numbers_of_the_plain_form(tiling, size, always, tmp_path) -> None:
    always(tiling)
    operators = check(convolution((1, 6, *size)), tmp_path)
    counts = [m + 2 if m > 1 else 1 for m in (tiling.rows, tiling.columns)]
    assert operators.count("CONV_2D") == counts[0] * counts[1]
    assert operators.count("TRANSPOSE") <= 2  # at input and output


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 0, 1), (2, 2, 2, 2), (0, 1, 2, 0)], ids=str)
@pytest.mark.parametrize("tiling", [Tiling(4, 1), Tiling(2, 2), Tiling(2, 4)], ids=str)
def test_any_padding(tiling, pads, always, tmp_path) -> None:
    always(tiling)
    check(convolution((1, 4, 9, 10), pads=pads), tmp_path)


@pytest.mark.parametrize(
    ("kernel", "tiling"),
    [((5, 5), Tiling(2, 1)), ((5, 5), Tiling(1, 2)), ((3, 1), Tiling(4, 1)), ((1, 3), Tiling(1, 4)), ((3, 5), Tiling(2, 2))],
    ids=str,
)
def test_other_kernels(kernel, tiling, always, tmp_path) -> None:
    always(tiling)
    check(convolution((1, 4, 9, 8), kernel=kernel), tmp_path)


@pytest.mark.parametrize("tiling", [Tiling(4, 1), Tiling(2, 2)], ids=str)
def test_several_images(tiling, always, tmp_path) -> None:
    always(tiling)
    check(convolution((3, 4, 8, 8), relu=False, bias=False), tmp_path)


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_the_builtin_kernels_give_the_same_numbers(tiling, always, tmp_path) -> None:
    always(tiling)
    graph = convolution((1, 4, 9, 10))
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 4, 9, 10)).astype(np.float32)}
    edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle")
    found = edgec.load_bundle(tmp_path / "bundle", xnnpack=False).run(feeds)["y"]
    np.testing.assert_allclose(found, interpret(graph, feeds)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tiling", [Tiling(4, 1), Tiling(2, 2), Tiling(4, 2)], ids=str)
def test_a_batch_known_at_run_time(tiling, always, tmp_path) -> None:
    always(tiling)
    operators = check(convolution((symbol("batch"), 4, 8, 7)), tmp_path, batch=3)
    assert operators.count("CONV_2D") > 4


def test_lines_are_images_of_height_one(always, tmp_path) -> None:
    always(Tiling(1, 4))
    operators = check(convolution((1, 4, 21), kernel=(3,), pads=(1, 1)), tmp_path)
    assert operators.count("CONV_2D") == 6


@pytest.mark.parametrize("attributes", [{"strides": (2, 2)}, {"dilations": (2, 2)}, {"strides": (1, 2)}], ids=str)
def test_windows_apart_stay_plain(attributes, always, tmp_path) -> None:
    always(Tiling(2, 2))
    assert check(convolution((1, 4, 12, 12), **attributes), tmp_path).count("CONV_2D") == 1


def test_groups_stay_plain(always, tmp_path) -> None:
    always(Tiling(2, 2))
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 8, 8, 8)))
    weight = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype(np.float32)
    graph.set_outputs([graph.add(Conv(pads=(1, 1, 1, 1), group=2), x, constant(weight))], ["y"])
    assert check(graph, tmp_path).count("CONV_2D") == 1


def test_large_convolutions_are_tiled_and_noted(tmp_path) -> None:
    graph = convolution((1, 128, 28, 28), filters=128)
    plane = Plane(28, 28, (3, 3), 128, 128)
    tiling = tiling_of(plane)
    assert tiling is not None
    assert check(graph, tmp_path).count("CONV_2D") > 1
    noted = edgec.load_bundle(tmp_path / "bundle").manifest["lowering"]["winograd"]
    assert len(noted["convolutions"]) == 1
    assert noted["added_bytes"] == round(4 * 9 * 128 * 128 * (growth(plane.kernel, tiling) - 1))


@pytest.mark.parametrize("options", [{"winograd": False}, {"weights": "f16"}, {"xnnpack": False}], ids=str)
def test_options_keep_the_plain_form(options, tmp_path) -> None:
    bundle = edgec.compile(Model(convolution((1, 128, 28, 28), filters=128)), target="tflite", output=tmp_path / "b", options=options)
    assert bundle.manifest["lowering"]["operators"]["CONV_2D"] == 1
    assert "winograd" not in bundle.manifest["lowering"]


@pytest.mark.parametrize(
    "plane",
    [
        Plane(112, 112, (3, 3), 3, 64),  # few products for what is moved
        Plane(55, 55, (3, 3), 16, 64),
        Plane(7, 7, (3, 3), 512, 512),  # bound by weights
        Plane(56, 56, (1, 1), 256, 256),
        Plane(28, 28, (7, 7), 64, 64),
    ],
    ids=str,
)
def test_no_tiles_where_they_do_not_pay(plane) -> None:
    assert tiling_of(plane) is None
