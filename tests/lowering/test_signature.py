"""Feeds against signatures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph
from edgec.ir.model import Model
from edgec.ir.types import OptionalType, SequenceType, TensorType
from edgec.lowering.signature import Signature, TensorSpec, conform


def test_it_describes_a_model_and_survives_json() -> None:
    graph = Graph()
    n = symbol("n")
    x = graph.add_input("x", TensorType(DType.FLOAT, (n, 2 * n + 1, 3)))
    graph.add_input("s", SequenceType(TensorType(DType.INT64, None)))
    graph.add_input("o", OptionalType(TensorType(DType.BOOL, ())))
    graph.set_outputs([x], ["y"])
    signature = Signature.of(Model(graph))
    assert [str(spec) for spec in signature.inputs] == ["f32[n, 2*n + 1, 3]", "sequence<i64[*]>", "optional<bool[]>"]
    assert signature.outputs[0].name == "y"
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


def test_python_numbers_take_the_declared_type_but_arrays_do_not() -> None:
    spec = TensorSpec("x", DType.FLOAT, (2,))
    assert conform(spec, [1, 2.5]).dtype == np.float32
    with pytest.raises(Diagnostic) as caught:
        conform(spec, np.array([1, 2]))
    assert caught.value.code == "E0602"
    with pytest.raises(Diagnostic):
        conform(TensorSpec("i", DType.INT64, (1,)), [1.5])


def test_arrays_become_contiguous_and_keep_rank_zero() -> None:
    strided = np.zeros((4, 6), np.float32)[::2, ::3]
    assert conform(TensorSpec("x", DType.FLOAT, (2, 2)), strided).flags.c_contiguous
    assert conform(TensorSpec("x", DType.FLOAT, ()), np.float32(3)).shape == ()


def test_sequences_and_optionals() -> None:
    sequence = TensorSpec("s", DType.FLOAT, None, "sequence")
    assert len(conform(sequence, [np.zeros(2, np.float32), np.zeros(3, np.float32)])) == 2
    with pytest.raises(Diagnostic):
        conform(sequence, np.zeros(2, np.float32))
    signature = Signature((TensorSpec("o", DType.FLOAT, None, "optional"),), ())
    assert signature.check({}) == {"o": None}
