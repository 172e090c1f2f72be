"""Random operators on TFLite, Core ML and TensorRT: the distribution is right, and numbers are drawn anew in every inference."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.registry import backend

F, SHAPE = TensorProto.FLOAT, [64, 128]
FEED = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def model_of(nodes: list[Any], outputs: dict[str, int], shape: Any = SHAPE, constants: dict[str, Any] | None = None) -> Any:
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    results = [helper.make_tensor_value_info(name, type_, None) for name, type_ in outputs.items()]
    graph = helper.make_graph(nodes, "drawn", [helper.make_tensor_value_info("x", F, shape)], results, initializers)
    return read_model_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10).SerializeToString())


@pytest.fixture(params=["tflite", "coreml"])
def draw(request, tmp_path):
    """Compiles a model for a target and runs it twice."""
    why = backend(request.param).available()
    if why is not None:
        pytest.skip(why)

    def run(model: Any) -> list[dict[str, Any]]:
        bundle = edgec.compile(model, target=request.param, output=tmp_path / "bundle")
        return [bundle.run({"x": FEED}) for _ in range(2)]

    return run


@pytest.mark.parametrize(
    ("operator", "attributes", "mean", "deviation"),
    [
        ("RandomUniformLike", {"low": -2.0, "high": 3.0}, 0.5, 5 / 12**0.5),
        ("RandomNormalLike", {"mean": 1.0, "scale": 2.0}, 1.0, 2.0),
        ("RandomUniform", {"shape": SHAPE}, 0.5, 1 / 12**0.5),
        ("RandomNormal", {"shape": SHAPE, "mean": -3.0}, -3.0, 1.0),
    ],
)
def test_numbers_have_the_distribution_that_was_asked_for(draw, operator, attributes, mean, deviation) -> None:
    operands = ["x"] if operator.endswith("Like") else []
    nodes = [helper.make_node(operator, operands, ["r"], **attributes), helper.make_node("Mul", ["x", "zero"], ["z"])]
    model = model_of([*nodes, helper.make_node("Add", ["r", "z"], ["y"])], {"y": F}, constants={"zero": np.float32(0)})
    first, second = (result["y"] for result in draw(model))
    assert first.shape == tuple(SHAPE) and first.dtype == np.float32
    assert first.mean() == pytest.approx(mean, abs=5 * deviation / 90) and first.std() == pytest.approx(deviation, rel=0.05)
    assert (first != second).mean() > 0.99
    if "Uniform" in operator:
        assert first.min() >= attributes.get("low", 0) and first.max() <= attributes.get("high", 1)
    else:
        assert np.abs((first - mean) / deviation).max() > 3  # there are tails …
        assert np.percentile(first, 84.13) == pytest.approx(mean + deviation, abs=0.1 * deviation)  # … and a middle


def test_two_generators_are_independent(draw) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], [name]) for name in ("a", "b")]
    first = draw(model_of(nodes, {"a": F, "b": F}))[0]
    assert abs(np.corrcoef(first["a"].reshape(-1), first["b"].reshape(-1))[0, 1]) < 0.06


def test_a_batch_known_at_run_time(draw) -> None:
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    noise = draw(model_of(nodes, {"y": F}, ["n", 128]))[0]["y"] - FEED
    assert noise.shape == tuple(SHAPE) and noise.mean() == pytest.approx(0.5, abs=0.02)


def test_bernoulli_draws_ones_with_the_probability_of_each_element(draw) -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["p"]), helper.make_node("Bernoulli", ["p"], ["y"])]
    drawn = draw(model_of(nodes, {"y": F}))[0]["y"]
    probability = 1 / (1 + np.exp(-FEED))
    assert set(np.unique(drawn)) == {0, 1}
    for low, high in ((0, 0.4), (0.4, 0.6), (0.6, 1)):
        chosen = (probability >= low) & (probability < high)
        assert drawn[chosen].mean() == pytest.approx(probability[chosen].mean(), abs=0.05)


def test_dropout_in_training_scales_what_it_keeps(draw) -> None:
    constants = {"ratio": np.float32(0.25), "training": np.bool_(True)}
    node = helper.make_node("Dropout", ["x", "ratio", "training"], ["y", "kept"])
    first, second = draw(model_of([node], {"y": F, "kept": TensorProto.BOOL}, constants=constants))
    np.testing.assert_allclose(first["y"], np.where(first["kept"], FEED / 0.75, 0), rtol=1e-6)
    assert first["kept"].mean() == pytest.approx(0.75, abs=0.03) and (first["kept"] != second["kept"]).any()


def test_multinomial_draws_classes_by_their_weights(draw) -> None:
    scores = np.log(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    nodes = [
        helper.make_node("Slice", ["x", "zero", "four", "one"], ["some"]),
        helper.make_node("Mul", ["some", "nought"], ["nothing"]),
        helper.make_node("Add", ["nothing", "scores"], ["s"]),
        helper.make_node("Multinomial", ["s"], ["y"], sample_size=200, dtype=TensorProto.INT32),
    ]
    constants = {name: np.array([value], np.int64) for name, value in (("zero", 0), ("four", 4), ("one", 1))}
    drawn = draw(model_of(nodes, {"y": TensorProto.INT32}, constants={**constants, "scores": scores, "nought": np.float32(0)}))[0]["y"]
    assert drawn.shape == (64, 200)
    shares = np.bincount(drawn.reshape(-1), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.02)


def test_a_seed_gives_the_same_numbers_in_every_session(tmp_path) -> None:
    pytest.importorskip("ai_edge_litert")
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["y"], seed=7.0)]
    edgec.compile(model_of(nodes, {"y": F}), target="tflite", output=tmp_path / "bundle")
    first, second = (edgec.load_bundle(tmp_path / "bundle").run({"x": FEED})["y"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("operator", ["RandomUniformLike", "RandomNormalLike", "Bernoulli"])
def test_tensorrt_builds_engines_that_draw(operator, tmp_path) -> None:
    why = backend("tensorrt").available()
    if why is not None:
        pytest.skip(why)
    model = model_of([helper.make_node("Sigmoid", ["x"], ["p"]), helper.make_node(operator, ["p"], ["y"])], {"y": F})
    bundle = edgec.compile(model, target="tensorrt", output=tmp_path / "bundle", options={"capabilities": "SM86", "optimization_level": 0})
    assert [engine["capabilities"] for engine in bundle.manifest["lowering"]["engines"]] == [["SM86"]]
    drawn = edgec.load_bundle(tmp_path / "bundle", reference=True).run({"x": FEED})["y"]
    assert drawn.mean() == pytest.approx(0.0 if "Normal" in operator else 0.5, abs=0.05)
