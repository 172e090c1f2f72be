"""Every node case of the ONNX backend suite for elementwise, reduction, loss, random and quantisation operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import TensorType
from tests.ir.ops.backend_cases import cases_of, check_case
from tests.ir.ops.operator_lists import CASTS, MATHEMATICS, QUANTISATION, RANDOM, REDUCTIONS

NO_TENSORS = ("test_identity_sequence", "test_identity_opt")


def _drawn(case: Any) -> bool:
    return any(word in case.name for word in ("bernoulli", "training", "random")) and "ratio_zero" not in case.name


def _parameters(operators: list[str]) -> list[Any]:
    return [pytest.param(c, id=c.name) for c in cases_of(operators) if c.name not in NO_TENSORS]


@pytest.mark.parametrize("case", _parameters(MATHEMATICS + CASTS + REDUCTIONS + QUANTISATION))
def test_values(case: Any) -> None:
    check_case(case)


@pytest.mark.parametrize("case", _parameters(RANDOM))
def test_random_operators(case: Any) -> None:
    """Drawn numbers differ between implementations: their type must fit; everything else must be equal."""
    if not _drawn(case):
        check_case(case)
        return
    model = read_model_bytes(case.model.SerializeToString(), case.name)
    for output, wanted in zip(model.graph.outputs, case.data_sets[0][1], strict=True):
        kind = output.type
        assert isinstance(kind, TensorType)
        assert kind.shape == np.shape(wanted)
        assert kind.dtype.numpy == np.asarray(wanted).dtype


def test_every_operator_has_cases() -> None:
    """A misspelt or renamed operator must not drop out of the comparison unseen."""
    covered = {c.model.graph.node[0].op_type for c in cases_of(MATHEMATICS + CASTS + REDUCTIONS + QUANTISATION)}
    assert set(MATHEMATICS + CASTS + REDUCTIONS + QUANTISATION) - covered == set()
