"""Operators of saved packages against coremltools' own value inference of the same operators on constants."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from coremltools.converters.mil.mil import Function

from edgec.lowering.coreml.evaluator import PackageEvaluator
from tests.lowering.coreml_programs import TARGETS, mb, random, save

X, Y = random(2, 3, 4), random(2, 3, 4, seed=1)
IMAGE = random(1, 4, 6, 6, seed=2)
POSITIVE, UNIT = np.abs(X) + np.float32(0.1), X / np.float32(2.5)
INTS = np.arange(-6, 18, dtype=np.int32).reshape(2, 3, 4)
DIVISORS = np.array([[3, -2, 5, 7]], np.int32)
F = np.float32

UNARY = ["abs", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "relu", "relu6", "round", "sigmoid", "sign", "sin", "sinh"]
UNARY += ["softplus", "softsign", "square", "tan", "tanh", "identity"]
BINARY = ["add", "sub", "mul", "real_div", "floor_div", "mod", "maximum", "minimum"]
COMPARISONS = ["equal", "greater", "greater_equal", "less", "less_equal", "not_equal"]
REDUCTIONS = ["reduce_max", "reduce_min", "reduce_sum", "reduce_prod", "reduce_l1_norm", "reduce_sum_square"]
FLOAT_REDUCTIONS = ["reduce_mean", "reduce_l2_norm", "reduce_log_sum_exp"]

Case = tuple[str, dict[str, np.ndarray], dict[str, Any]]

CASES: list[Case] = [(op, {"x": X}, {}) for op in UNARY]
CASES += [(op, {"x": UNIT}, {}) for op in ("acos", "asin", "atan", "atanh")]
CASES += [(op, {"x": POSITIVE}, {}) for op in ("sqrt", "log", "rsqrt", "inverse", "reduce_log_sum")]
CASES += [(op, {"x": X, "y": Y}, {}) for op in BINARY]
CASES += [(op, {"x": INTS, "y": DIVISORS}, {}) for op in BINARY if op != "real_div"]
CASES += [(op, {"x": INTS, "y": DIVISORS}, {}) for op in COMPARISONS]
CASES += [("pow", {"x": POSITIVE, "y": Y}, {}), ("pow", {"x": INTS, "y": np.abs(DIVISORS)}, {})]
CASES += [(op, {"x": X}, {"axes": [0, 2], "keep_dims": k}) for op in REDUCTIONS + FLOAT_REDUCTIONS for k in (True, False)]
CASES += [(op, {"x": X}, {}) for op in REDUCTIONS + FLOAT_REDUCTIONS]
CASES += [(op, {"x": INTS}, {"axes": [-1]}) for op in REDUCTIONS]
CASES += [
    (op, {"x": v}, {"axis": 1, "keep_dims": k}) for op in ("reduce_argmax", "reduce_argmin") for v in (X, INTS) for k in (True, False)
]
CASES += [
    ("clip", {"x": X}, {"alpha": F(-0.5), "beta": F(1)}),
    ("threshold", {"x": X}, {"alpha": F(0.25)}),
    ("log", {"x": POSITIVE}, {"epsilon": F(0.5)}),
    ("rsqrt", {"x": POSITIVE}, {"epsilon": F(0.5)}),
    ("inverse", {"x": POSITIVE}, {"epsilon": F(0.5)}),
    ("cast", {"x": X}, {"dtype": "int32"}),
    ("cast", {"x": X}, {"dtype": "bool"}),
    ("cast", {"x": INTS}, {"dtype": "fp32"}),
    ("cast", {"x": X}, {"dtype": "fp16"}),
    ("clamped_relu", {"x": X}, {"alpha": F(0.3), "beta": F(1.1)}),
    ("elu", {"x": X}, {"alpha": F(0.7)}),
    ("leaky_relu", {"x": X}, {"alpha": F(0.2)}),
    ("linear_activation", {"x": X}, {"alpha": F(0.2), "beta": F(0.4)}),
    ("scaled_tanh", {"x": X}, {"alpha": F(0.2), "beta": F(0.4)}),
    ("sigmoid_hard", {"x": X}, {"alpha": F(0.2), "beta": F(0.4)}),
    ("thresholded_relu", {"x": X}, {"alpha": F(0.4)}),
    ("prelu", {"x": IMAGE}, {"alpha": np.array([0.1, -0.2, 0.3, 0.4], F)}),
    ("softplus_parametric", {"x": IMAGE}, {"alpha": np.array([1, 2, 3, 4], F), "beta": np.array([0.5, 0.6, -0.7, 0.8], F)}),
    ("softmax", {"x": X}, {"axis": 1}),
    ("softmax", {"x": X}, {}),
    ("gelu", {"x": X}, {}),
    ("gelu", {"x": X}, {"mode": "TANH_APPROXIMATION"}),
    ("gelu", {"x": X}, {"mode": "SIGMOID_APPROXIMATION"}),
    ("linear", {"x": X}, {"weight": random(5, 4, seed=4), "bias": random(5, seed=5)}),
    ("matmul", {"x": X, "y": Y}, {"transpose_y": True}),
    ("matmul", {"x": X, "y": Y}, {"transpose_x": True}),
    ("matmul", {"x": random(5, 1, 3, 4), "y": random(2, 4, 6, seed=3)}, {}),
    ("layer_norm", {"x": X}, {"axes": [-1], "gamma": random(4, seed=6), "beta": random(4, seed=7), "epsilon": F(1e-3)}),
    ("layer_norm", {"x": X}, {"axes": [0, 2], "gamma": random(2, 4, seed=6), "beta": random(2, 4, seed=7), "epsilon": F(1e-3)}),
    ("layer_norm", {"x": X}, {"axes": [1]}),
    ("l2_norm", {"x": X}, {"epsilon": F(1e-2)}),
    ("l2_norm", {"x": IMAGE}, {}),
    ("scaled_dot_product_attention", {"query": X, "key": Y, "value": random(2, 3, 5, seed=8)}, {}),
    (
        "scaled_dot_product_attention",
        {"query": X, "key": Y, "value": random(2, 3, 5, seed=8)},
        {"attn_mask": np.array([[True, False, True], [True, True, False], [False, True, True]])},
    ),
    ("scaled_dot_product_attention", {"query": X, "key": Y, "value": Y, "attn_mask": random(3, 3, seed=9)}, {}),
    ("transpose", {"x": X}, {"perm": [2, 0, -2]}),
    ("reshape", {"x": X}, {"shape": [3, -1]}),
    ("reshape", {"x": X}, {"shape": [1, 0, -1, 0]}),
    ("expand_dims", {"x": X}, {"axes": [0, -1]}),
    ("squeeze", {"x": IMAGE}, {"axes": [0]}),
    ("flatten2d", {"x": X}, {"axis": 2}),
    ("reverse", {"x": X}, {"axes": [0, -1]}),
    ("reverse", {"x": X}, {}),
    ("tile", {"x": X}, {"reps": [1, 2, 3]}),
    ("shape", {"x": X}, {}),
    ("band_part", {"x": X}, {"lower": 0, "upper": 1}),
    ("band_part", {"x": X}, {"lower": -1, "upper": 0}),
    ("cumsum", {"x": X}, {"axis": 1}),
    ("cumsum", {"x": X}, {"axis": -1, "reverse": True}),
    ("cumsum", {"x": INTS}, {"axis": 0}),
    ("pad", {"x": X}, {"pad": [1, 2, 0, 1], "mode": "constant", "constant_val": F(7)}),
    ("pad", {"x": X}, {"pad": [1, 1, 3, 2], "mode": "reflect"}),
    ("pad", {"x": X}, {"pad": [0, 1, 1, 0, 2, 3], "mode": "replicate"}),
    ("slice_by_index", {"x": X}, {"begin": [0, 1, -3], "end": [2, 3, -1]}),
    ("slice_by_index", {"x": X}, {"begin": [1, 0, 3], "end": [0, 0, 0], "stride": [-1, 2, -2], "end_mask": [True, True, False]}),
    ("slice_by_index", {"x": X}, {"begin": [-1, 0, 1], "end": [0, 3, 4], "squeeze_mask": [True, False, False]}),
    ("slice_by_size", {"x": X}, {"begin": [0, 1, -2], "size": [2, -1, 1]}),
    ("slice_update", {"x": X, "update": random(2, 1, 2, seed=3)}, {"begin": [0, 1, 0], "end": [2, 2, 4], "stride": [1, 1, 2]}),
    ("gather", {"x": X}, {"indices": np.array([[2, 0], [1, 1]], np.int32), "axis": 1}),
    ("gather", {"x": X}, {"indices": np.int32(1), "axis": -1}),
    ("gather", {"x": X}, {"indices": np.array([[3, 0], [1, 1]], np.int32), "axis": 2, "batch_dims": 1}),
    ("gather_along_axis", {"x": X}, {"indices": np.array([[[1, 3, 0, 2, 1]] * 3] * 2, np.int32), "axis": 2}),
    ("argsort", {"x": X}, {"axis": 1}),
    ("argsort", {"x": X}, {"axis": -1, "ascending": True}),
    ("topk", {"x": X}, {"k": 2, "axis": 1}),
    ("topk", {"x": X}, {"k": 3, "axis": -1, "ascending": True}),
    ("non_zero", {"x": np.array([[0, 3, 0], [1, 0, 2]], np.int32)}, {}),
    ("split", {"x": X}, {"split_sizes": [1, 3], "axis": -1}),
    ("split", {"x": X}, {"num_splits": 3, "axis": 1}),
    ("fill_like", {"ref_tensor": X}, {"value": F(2.5)}),
    ("quantize", {"input": X * 50}, {"scale": F(0.5), "zero_point": np.int8(3), "output_dtype": "int8"}),
    (
        "quantize",
        {"input": X * 50},
        {"scale": np.array([0.5, 0.25, 1], F), "zero_point": np.array([3, 128, 9], np.uint8), "axis": 1, "output_dtype": "uint8"},
    ),
]


def _inferred(op: str, operands: dict[str, Any], opset: int) -> list[np.ndarray]:
    """coremltools' value inference of an operator on constants."""
    with Function({}, opset_version=TARGETS[opset]):
        result = getattr(mb, op)(**operands)
    results = result if isinstance(result, list | tuple) else [result]
    return [np.asarray(r.val) for r in results]


def _check(cases: list[Case], opset: int, folder: Any) -> Counter[str]:
    """Evaluate all cases in one saved program and compare each with its inference."""
    inputs = {f"i{n}_{key}": value for n, (_, arrays, _) in enumerate(cases) for key, value in arrays.items()}
    counts: list[int] = []

    def build(**variables: Any) -> list[Any]:
        outputs: list[Any] = []
        for n, (op, arrays, parameters) in enumerate(cases):
            result = getattr(mb, op)(**{key: variables[f"i{n}_{key}"] for key in arrays}, **parameters)
            results = list(result) if isinstance(result, list | tuple) else [result]
            counts.append(len(results))
            outputs += [mb.cast(x=r, dtype="int32") if r.dtype.__name__ == "bool" else mb.identity(x=r) for r in results]
        return outputs

    evaluator = PackageEvaluator(save(build, inputs, folder, opset))
    results = list(evaluator.run(inputs).values())
    assert len(results) == sum(counts)
    for (op, arrays, parameters), count in zip(cases, counts, strict=True):
        expected = _inferred(op, {k: v.copy() for k, v in arrays.items()} | parameters, opset)
        got, results = results[:count], results[count:]
        for e, g in zip(expected, got, strict=True):
            assert g.shape == e.shape, f"{op} {parameters}: {g.shape}, inferred {e.shape}"
            tolerance = 0 if e.dtype.kind in "iub" else 2e-3 if e.dtype == np.float16 else 1e-5
            np.testing.assert_allclose(g.astype(np.float64), e.astype(np.float64), tolerance, tolerance, err_msg=f"{op} {parameters}")
    return Counter(evaluator.operations())


def test_operators_agree_with_value_inference(tmp_path):
    used = _check(CASES, 18, tmp_path)
    assert all(used[op] for op in {case[0] for case in CASES})


def test_softmax_of_float16_rounds_as_value_inference_does(tmp_path):
    x = (random(4, 50, seed=9) * 4).astype(np.float16)
    evaluator = PackageEvaluator(save(lambda x: mb.softmax(x=x, axis=-1), {"x": x}, tmp_path))
    (got,) = evaluator.run({"x": x}).values()
    (expected,) = _inferred("softmax", {"x": x}, 17)
    np.testing.assert_array_equal(got.astype(np.float16), expected)


def test_negative_indices_count_from_the_end_before_ios17(tmp_path):
    cases: list[Case] = [
        ("gather", {"x": X}, {"indices": np.array([-1, 0], np.int32), "axis": 1}),
        ("gather_along_axis", {"x": X}, {"indices": np.array([[[-1, -4, 0]] * 3] * 2, np.int32), "axis": 2}),
        ("reshape", {"x": X}, {"shape": [0, -1, 0]}),
    ]
    _check(cases, 16, tmp_path)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("bchw,bwhr->bchr", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("abc,cbd->abd", (3, 4, 5), (5, 4, 6)),
        ("nchw,nwhu->nchu", (1, 3, 4, 5), (2, 5, 1, 6)),
    ],
)
def test_einsum(tmp_path, equation, left, right):
    x, y = random(*left), random(*right, seed=1)
    evaluator = PackageEvaluator(save(lambda x, y: mb.einsum(values=(x, y), equation=equation), {"x": x, "y": y}, tmp_path))
    (got,) = evaluator.run({"x": x, "y": y}).values()
    np.testing.assert_allclose(got, _inferred("einsum", {"values": (x, y), "equation": equation}, 17)[0], 1e-5, 1e-5)


def test_joins(tmp_path):
    def build(x, y):
        return [
            mb.concat(values=[x, y], axis=-1),
            mb.concat(values=[x, y], axis=1, interleave=True),
            mb.stack(values=[x, y], axis=1),
            mb.select(cond=mb.greater(x=x, y=F(0)), a=x, b=y),
        ]

    joined, interleaved, stacked, selected = PackageEvaluator(save(build, {"x": X, "y": Y}, tmp_path)).run({"x": X, "y": Y}).values()
    np.testing.assert_array_equal(joined, np.concatenate([X, Y], -1))
    np.testing.assert_array_equal(interleaved[:, 0::2], X)
    np.testing.assert_array_equal(interleaved[:, 1::2], Y)
    np.testing.assert_array_equal(stacked, np.stack([X, Y], 1))
    np.testing.assert_array_equal(selected, np.where(X > 0, X, Y))
