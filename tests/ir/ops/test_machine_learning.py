"""The classic operators that the backend suite lacks, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edgec.ir.data import ArrayData
from edgec.ir.graph import constant_type
from edgec.ir.op import Op, infer_types
from edgec.ir.ops.machine_learning import (
    CategoryMapper,
    FeatureVectorizer,
    Imputer,
    LinearClassifier,
    LinearRegressor,
    Normalizer,
    OneHotEncoder,
    Scaler,
    SVMClassifier,
    SVMRegressor,
    TreeEnsembleClassifier,
    TreeEnsembleRegressor,
)
from edgec.ir.types import TensorType, refine

X = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.5]], np.float32)
STUMP: dict[str, Any] = {
    "nodes_falsenodeids": (2, 0, 0),
    "nodes_featureids": (1, 0, 0),
    "nodes_modes": ("BRANCH_LEQ", "LEAF", "LEAF"),
    "nodes_nodeids": (0, 1, 2),
    "nodes_treeids": (0, 0, 0),
    "nodes_truenodeids": (1, 0, 0),
    "nodes_values": (0.25, 0.0, 0.0),
}
CASES: list[tuple[Op, list[Any]]] = [
    (FeatureVectorizer((3, 3)), [X, X]),
    (Imputer(imputed_value_floats=(7.0,), replaced_value_float=0.0), [X]),
    (LinearClassifier((0.5, -1.0, 2.0, 1.0, 1.0, -0.5), classlabels_ints=(3, 4), intercepts=(0.1, 0.2)), [X]),
    (LinearRegressor((0.5, -1.0, 2.0), (0.25,)), [X]),
    (Normalizer("L2"), [X]),
    (OneHotEncoder(cats_int64s=(1, 2, 5)), [np.array([[5], [1]])]),
    (Scaler((1.0, 0.0, -1.0), (2.0, 1.0, 0.5)), [X]),
    (
        TreeEnsembleRegressor(
            **STUMP, n_targets=1, target_ids=(0, 0), target_nodeids=(1, 2), target_treeids=(0, 0), target_weights=(5.0, 7.0)
        ),
        [X],
    ),
    (
        TreeEnsembleClassifier(
            **STUMP,
            class_ids=(0, 2),
            class_nodeids=(1, 2),
            class_treeids=(0, 0),
            class_weights=(1.0, 1.0),
            classlabels_int64s=(10, 20, 30),
        ),
        [X],
    ),
    (
        SVMRegressor(
            coefficients=(1.0, -0.5), kernel_params=(0.5, 0.0, 3.0), kernel_type="RBF", n_supports=2, rho=(0.1,),
            support_vectors=(1.0, 0.0, 0.0, 0.0, 1.0, 1.0),
        ),
        [X],
    ),
    (
        SVMClassifier(
            classlabels_ints=(0, 1), coefficients=(1.0, -1.0), kernel_params=(0.5, 0.0, 3.0), kernel_type="LINEAR", rho=(0.1,),
            support_vectors=(1.0, 0.0, 0.0, 0.0, 1.0, 1.0), vectors_per_class=(1, 1),
        ),
        [X],
    ),
    (CategoryMapper((1, 2), ("a", "b")), [np.array(["b", "z"], np.object_)]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "operands"), CASES, ids=[type(op).__name__ for op, _ in CASES])
def test_against_onnxruntime(op: Op, operands: list[Any]) -> None:
    expected = _run(op, operands)
    inferred = infer_types(op, [constant_type(ArrayData(a)) for a in operands], op.outputs)
    results = op.evaluate(*operands)
    results = results if isinstance(results, tuple) else (results,)
    for type_, result, reference in zip(inferred, results, expected, strict=True):
        stored = TensorType(constant_type(ArrayData(reference)).dtype, reference.shape)
        assert refine(type_, stored) is not None, f"inferred {type_}, onnxruntime gives {stored}"
        assert result.shape == reference.shape and result.dtype == reference.dtype
        if result.dtype == np.object_:
            assert result.tolist() == reference.tolist()
        else:
            np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)


def _run(op: Op, operands: list[Any]) -> list[Any]:
    names = [f"x{i}" for i in range(len(operands))]
    results = [f"y{i}" for i in range(op.outputs)]
    attributes = {name: value for name, value in op.changed_attributes() if value is not None}
    node = helper.make_node(op.op_name, names, results, domain=op.domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, operands, strict=True)
    ]
    graph = helper.make_graph([node], "one", inputs, [helper.make_empty_tensor_value_info(r) for r in results])
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    content = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, operands, strict=True)))
