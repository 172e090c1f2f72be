"""Opening and running saved Core ML packages."""

import json
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

import coremltools as ct
from coremltools.converters.mil.mil import Function, Program, get_new_symbol, types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from edgec.ir.diagnostics import Diagnostic
from edgec.lowering.coreml.evaluator import PackageEvaluator, covered
from tests.lowering.coreml_programs import TARGETS, evaluate, mb, only_block, random, rewrite, save, spec_of

F = np.float32
# Not evaluated: an artefact of value inference, and an experimental operator without a documented result.
NOT_COVERED = {"_const_symbolic", "conv_quantized"}


def failure(code: str) -> Any:
    """Expect a diagnostic with this code."""
    return pytest.raises(Diagnostic, match=code)


def convert(program: Any, path: Any, **options: Any) -> None:
    """Save a program with coremltools' default passes in float32."""
    shared = {"source": "milinternal", "convert_to": "mlprogram", "compute_precision": ct.precision.FLOAT32, "skip_model_load": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = ct.convert(program, **shared, **options)
        model.save(str(path))


def test_every_core_operator_but_the_stated_ones_is_covered():
    core = set(SSAOpRegistry.core_ops)
    assert core - covered() == NOT_COVERED
    assert len(core & covered()) == 166


@pytest.fixture
def small(tmp_path):
    """A convolution whose weight lies in the weight file."""
    w = random(8, 3, 3, 3)
    return save(lambda x: mb.relu(x=mb.conv(x=x, weight=w, pad_type="same"), name="y"), {"x": random(1, 3, 8, 8)}, tmp_path)


def test_signature_values_and_operations(small):
    evaluator = PackageEvaluator(small)
    assert [(s.name, s.shape) for s in evaluator.signature.inputs] == [("x", (1, 3, 8, 8))]
    assert [(s.name, s.shape) for s in evaluator.signature.outputs] == [("y", (1, 8, 8, 8))]
    assert evaluator.operations() == ["conv", "relu"]
    assert (evaluator.opset, evaluator.functions) == (17, ("main",))
    x = random(1, 3, 8, 8, seed=1)
    before = evaluator.tensors({"x": x}, evaluator.value_names())
    np.testing.assert_array_equal(np.maximum(before[evaluator.value_names()[0]], 0), evaluator.run({"x": x})["y"])
    with failure("E0540"):
        evaluator.tensors({"x": x}, ["nothing"])


def test_wrong_feeds(small):
    evaluator = PackageEvaluator(small)
    with failure("E0601"):
        evaluator.run({"z": random(1, 3, 8, 8)})
    with failure("E0602"):
        evaluator.run({"x": random(1, 3, 8, 8).astype(np.float64)})
    with failure("E0603"):
        evaluator.run({"x": random(1, 3, 8, 9)})


def test_results_follow_the_weight_file_not_the_builder(small):
    x = random(1, 3, 8, 8, seed=1)
    before = PackageEvaluator(small).run({"x": x})["y"]
    weights = next(small.glob("Data/*/weights/weight.bin"))
    raw = bytearray(weights.read_bytes())
    raw[128 : 128 + 8 * 3 * 3 * 3 * 4] = np.zeros(8 * 3 * 3 * 3, F).tobytes()
    weights.write_bytes(raw)
    assert before.any()
    assert not PackageEvaluator(small).run({"x": x})["y"].any()


def test_damaged_weights(small):
    x = {"x": random(1, 3, 8, 8)}
    weights = next(small.glob("Data/*/weights/weight.bin"))
    raw = weights.read_bytes()
    for damaged in (
        raw[:32],
        raw[:200],
        raw[:64] + b"\0" * (len(raw) - 64),
        b"\x01\0\0\0\x09\0\0\0" + raw[8:],
        raw[:68] + b"\x01" + raw[69:],
    ):
        weights.write_bytes(damaged)
        with failure("E0540"):
            PackageEvaluator(small).run(x)
    weights.unlink()
    with failure("E0540"):
        PackageEvaluator(small).run(x)


def test_packages_that_cannot_be_read(tmp_path, small):
    with failure("E0540"):
        PackageEvaluator(tmp_path / "nothing.mlpackage")
    with failure("has no function 'other'"):
        PackageEvaluator(small, "other")
    model = next(small.glob("Data/*/*.mlmodel"))
    content = model.read_bytes()
    model.write_bytes(content[:-20])
    with failure("E0540"):
        PackageEvaluator(small)
    model.write_bytes(b"")
    with failure("not an ML Program"):
        PackageEvaluator(small)
    (small / "Manifest.json").write_text(json.dumps({"rootModelIdentifier": "x", "itemInfoEntries": {}}))
    with failure("manifest"):
        PackageEvaluator(small)


def test_random_draws(tmp_path):
    x = np.log(np.tile(np.array([0.1, 0.2, 0.7], np.float32), (50, 1)))

    def build(x):
        noise = mb.random_bernoulli(shape=np.array([50, 40], np.int32), prob=F(0.25), seed=3)
        return mb.random_categorical(x=x, size=np.int32(40), name="drawn"), mb.identity(x=noise, name="ones")

    drawn, ones = evaluate(build, {"x": x}, tmp_path)
    assert drawn.shape == (50, 40) and drawn.dtype == np.float32
    np.testing.assert_allclose(np.bincount(drawn.reshape(-1).astype(int), minlength=3) / 2000, [0.1, 0.2, 0.7], atol=0.05)
    assert set(np.unique(ones)) == {0, 1} and abs(ones.mean() - 0.25) < 0.05


def test_unknown_operators_and_operands_are_named(small):
    spec = spec_of(small)
    operation = next(o for o in only_block(spec).operations if o.type == "relu")
    operation.type = "reluu"
    with failure("E0541.*reluu"):
        PackageEvaluator(rewrite(small, spec))
    operation.type = "relu"
    operation.inputs["strength"].arguments.add().name = "x"
    with failure("E0541.*strength"):
        PackageEvaluator(rewrite(small, spec))
    del operation.inputs["strength"]
    del operation.inputs["x"]
    with failure("E0540.*no operand 'x'"):
        PackageEvaluator(rewrite(small, spec))


def test_results_that_contradict_their_declaration(small):
    spec = spec_of(small)
    operation = next(o for o in only_block(spec).operations if o.type == "relu")
    operation.outputs[0].type.tensorType.dimensions[3].constant.size = 9
    with failure("E0543"):
        PackageEvaluator(rewrite(small, spec)).run({"x": random(1, 3, 8, 8)})
    operation.outputs[0].type.tensorType.dimensions[3].constant.size = 8
    operation.outputs[0].type.tensorType.dataType = 23
    with failure("E0543"):
        PackageEvaluator(rewrite(small, spec)).run({"x": random(1, 3, 8, 8)})


def test_flexible_inputs(tmp_path):
    rows = get_new_symbol()
    program = Program()
    with Function({"x": mb.placeholder(shape=(rows, 3))}, opset_version=TARGETS[17]) as function:
        function.set_outputs([mb.reduce_sum(x=function.inputs["x"], axes=[0], name="y")])
        program.add_function("main", function)
    sizes = ct.TensorType(name="x", shape=(ct.RangeDim(2, 5, default=3), 3))
    convert(program, tmp_path / "m.mlpackage", inputs=[sizes], minimum_deployment_target=TARGETS[17])
    evaluator = PackageEvaluator(tmp_path / "m.mlpackage")
    assert evaluator.signature.flexible["x"].ranges == ((2, 5), (3, 3))
    assert evaluator.signature.inputs[0].shape == ("x_0", 3)
    for count in (2, 5):
        x = random(count, 3)
        np.testing.assert_allclose(evaluator.run({"x": x})["y"], x.sum(0), rtol=1e-6)
    with failure("E0544.*2..5"):
        evaluator.run({"x": random(6, 3)})


def test_half_precision_rounds_once_per_operator(tmp_path):
    x, w = random(4, 64).astype(np.float16), random(8, 64, seed=1).astype(np.float16)

    def build(x):
        return [mb.linear(x=x, weight=w), mb.mul(x=mb.square(x=mb.mul(x=x, y=np.float16(300))), y=np.float16(0.5))]

    product, overflow = evaluate(build, {"x": x}, tmp_path, 17)
    assert product.dtype == overflow.dtype == np.float16
    np.testing.assert_array_equal(product, (x.astype(F) @ w.astype(F).T).astype(np.float16))
    scaled = (x.astype(F) * F(300)).astype(np.float16)
    squared = np.square(scaled.astype(F))
    assert np.isinf(overflow[squared > 65520]).all()
    assert np.isfinite(overflow[squared < 65000]).all()


def test_states_live_as_long_as_the_evaluator(tmp_path):
    inputs = {"x": mb.placeholder(shape=(2, 3), dtype=types.fp16), "total": mb.state_tensor_placeholder((2, 3), types.fp16)}

    def build(x, total):
        before = mb.read_state(input=total)
        return mb.mul(x=mb.coreml_update_state(state=total, value=mb.add(x=before, y=x)), y=np.float16(2))

    evaluator = PackageEvaluator(save(build, inputs, tmp_path, 18))
    assert [(s.name, s.shape) for s in evaluator.signature.states] == [("total", (2, 3))]
    assert [s.name for s in evaluator.signature.inputs] == ["x"]
    x = np.full((2, 3), 1.5, np.float16)
    for step in (1, 2, 3):
        (y,) = evaluator.run({"x": x}).values()
        assert (y == 3 * step).all()
    assert (evaluator.states["total"] == 4.5).all()
    evaluator.reset()
    assert not evaluator.states["total"].any()


def test_functions_are_chosen_by_name(tmp_path):
    for name, factor in (("double", 2), ("triple", 3)):
        folder = tmp_path / name
        folder.mkdir()
        save(lambda x, factor=factor: mb.mul(x=x, y=F(factor)), {"x": random(2)}, folder, 18)
    described = ct.utils.MultiFunctionDescriptor()
    for name in ("double", "triple"):
        described.add_function(str(tmp_path / name / "model.mlpackage"), "main", name)
    described.default_function_name = "triple"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct.utils.save_multifunction(described, str(tmp_path / "both.mlpackage"))
    x = {"x": random(2)}
    for function, factor in ((None, 3), ("double", 2), ("triple", 3)):
        evaluator = PackageEvaluator(tmp_path / "both.mlpackage", function)
        assert evaluator.functions == ("double", "triple")
        np.testing.assert_allclose(next(iter(evaluator.run(x).values())), x["x"] * factor)


def test_branches_and_loops_see_the_values_around_them(tmp_path):
    def build(x, n):
        scale, n = mb.add(x=mb.reduce_max(x=x), y=F(1)), mb.squeeze(x=n)

        def body(i, total, powers):
            term = mb.mul(x=total, y=scale)
            return mb.add(x=i, y=1), term, mb.list_write(ls=powers, index=i, value=term)

        powers = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(2,))
        i, total, powers = mb.while_loop(_cond=lambda i, *_: mb.less(x=i, y=n), _body=body, loop_vars=(np.int32(0), x, powers))
        large = mb.greater(x=mb.reduce_sum(x=total), y=F(10))
        chosen = mb.cond(pred=large, _true_fn=lambda: mb.mul(x=total, y=F(-1)), _false_fn=lambda: mb.add(x=total, y=x))
        return [i, chosen, mb.list_gather(ls=powers, indices=np.array([2, 0], np.int32)), mb.list_length(ls=powers)]

    evaluator = PackageEvaluator(save(build, {"x": random(2), "n": np.zeros(1, np.int32)}, tmp_path))
    x = np.array([1, 0.5], F)
    i, chosen, powers, length = evaluator.run({"x": x, "n": np.array([4], np.int32)}).values()
    assert (int(i), int(length)) == (4, 4)
    np.testing.assert_allclose(chosen, -x * 16)
    np.testing.assert_allclose(powers, [x * 8, x * 2])
    i, chosen, *_ = evaluator.run({"x": x / 10, "n": np.array([3], np.int32)}).values()
    np.testing.assert_allclose(chosen, x / 10 * F(1.1) ** 3 + x / 10, rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: mb.gather(x=x, indices=np.array([-1], np.int32)), "index"),
        (lambda x: mb.one_hot(indices=np.array([7], np.int32), one_hot_vector_size=mb.squeeze(x=mb.shape(x=x))), "index"),
        (lambda x: mb.real_div(x=mb.cast(x=x, dtype="int32"), y=np.int32(-2)), "quotient"),
        (lambda x: mb.cast(x=mb.mul(x=x, y=F(1e20)), dtype="int32"), "cannot hold"),
        (lambda x: mb.mod(x=mb.cast(x=x, dtype="int32"), y=mb.cast(x=mb.mul(x=x, y=F(0)), dtype="int32")), "zero"),
    ],
)
def test_undefined_results_are_refused_not_invented(tmp_path, build, message):
    with failure("E0542") as caught:
        evaluate(build, {"x": random(3, low=1)}, tmp_path)
    assert message in caught.value.message
    assert caught.value.where.startswith("operation '")


def test_classifiers_give_labels_and_probabilities(tmp_path):
    program = Program()
    with Function({"x": mb.placeholder(shape=(1, 3))}, opset_version=TARGETS[15]) as function:
        function.set_outputs([mb.softmax(x=function.inputs["x"], axis=-1, name="p")])
        program.add_function("main", function)
    convert(program, tmp_path / "m.mlpackage", classifier_config=ct.ClassifierConfig(["cat", "dog", "owl"]))
    label, probabilities = PackageEvaluator(tmp_path / "m.mlpackage").run({"x": np.array([[1, 3, 2]], F)}).values()
    assert label == "dog"
    assert list(probabilities) == ["cat", "dog", "owl"]
    assert sum(probabilities.values()) == pytest.approx(1)


def test_integer_quotients_and_unknown_ranks(tmp_path):
    program, sizes = Program(), mb.placeholder(shape=(get_new_symbol(),), dtype=types.int32)
    with Function({"x": mb.placeholder(shape=(3,)), "sizes": sizes}, opset_version=TARGETS[17]) as function:
        x, sizes = function.inputs.values()
        function.set_outputs([mb.real_div(x=mb.cast(x=x, dtype="int32"), y=np.int32(3)), mb.fill(shape=sizes, value=F(2))])
        program.add_function("main", function)
    interface = [ct.TensorType(name="x", shape=(3,)), ct.TensorType(name="sizes", shape=(ct.RangeDim(1, 5, default=2),), dtype=np.int32)]
    convert(program, tmp_path / "m.mlpackage", inputs=interface, minimum_deployment_target=TARGETS[17])
    evaluator = PackageEvaluator(tmp_path / "m.mlpackage")
    assert evaluator.signature.outputs[1].shape is None
    quotient, filled = evaluator.run({"x": np.array([7, 9, 2], F), "sizes": np.array([2, 1, 3], np.int32)}).values()
    assert quotient.tolist() == [2, 3, 0]
    np.testing.assert_array_equal(filled, np.full((2, 1, 3), 2))
