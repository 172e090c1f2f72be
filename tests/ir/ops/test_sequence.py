"""Sequences, optionals, strings, classic machine learning operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.ops.joining import join
from edgec.ir.ops.machine_learning import Binarizer, LabelEncoder, LinearClassifier, OneHotEncoder, TreeEnsemble
from edgec.ir.ops.optional import Optional, OptionalGetElement, OptionalHasElement
from edgec.ir.ops.sequence import (
    ConcatFromSequence,
    SequenceAt,
    SequenceConstruct,
    SequenceEmpty,
    SequenceErase,
    SequenceInsert,
    SequenceLength,
    SplitToSequence,
)
from edgec.ir.ops.text import RegexFullMatch, StringConcat, StringNormalizer, StringSplit
from edgec.ir.ops.training import Adam
from edgec.ir.types import UNKNOWN, OptionalType, SequenceType, TensorType
from tests.ir.ops.shapes import BATCH, SEQ, f32, scalar, vector


def strings(*items: str) -> Any:
    return np.array(items, dtype=np.object_)


def test_join() -> None:
    assert join(f32(BATCH, 3), f32(BATCH, 4), "x") == f32(BATCH, None)
    assert join(f32(3), f32(3, 3), "x").shape is None
    assert join(vector(1, BATCH, 3), vector(1, 2, 3), "x").content == (1, None, 3)
    assert join(f32(3), UNKNOWN, "x") == TensorType(DType.FLOAT, None)
    for left, right in ((f32(1), vector(1)), (f32(1), SequenceType(f32(1)))):
        with pytest.raises(Diagnostic, match="the branches have the types"):
            join(left, right, "the branches")


def test_sequence_types() -> None:
    built = SequenceConstruct().infer(f32(2, BATCH), f32(3, BATCH))
    assert built == SequenceType(f32(None, BATCH))
    assert SequenceAt().infer(built, scalar(0)) == f32(None, BATCH)
    assert SequenceInsert().infer(built, f32(BATCH)) == SequenceType(TensorType(DType.FLOAT, None))
    assert SequenceErase().infer(built) == built
    assert SequenceLength().infer(built) == TensorType(DType.INT64, ())
    assert SequenceEmpty(DType.INT64).infer() == SequenceType(TensorType(DType.INT64, None))
    assert ConcatFromSequence(axis=1).infer(built) == f32(None, None)
    assert ConcatFromSequence(axis=0, new_axis=1).infer(built) == f32(None, None, BATCH)
    assert SplitToSequence().infer(f32(6, BATCH), scalar(2)) == SequenceType(f32(2, BATCH))
    assert SplitToSequence().infer(f32(7, BATCH), scalar(2)) == SequenceType(f32(None, BATCH))
    assert SplitToSequence(keepdims=0).infer(f32(6, BATCH)) == SequenceType(f32(BATCH))
    with pytest.raises(Diagnostic, match="must be a sequence"):
        SequenceLength().infer(f32(1))


def test_sequence_values() -> None:
    one, two = np.zeros(1), np.ones(2)
    assert SequenceInsert().evaluate([one], two, np.array(-1))[0] is two
    assert SequenceErase().evaluate([one, two], np.array(0)) == [two]
    assert SequenceAt().evaluate([one, two], np.array(-1)) is two
    assert SequenceLength().evaluate([one, two]) == 2
    parts = SplitToSequence().evaluate(np.arange(5.0), np.array(2))
    assert [p.tolist() for p in parts] == [[0, 1], [2, 3], [4]]
    assert ConcatFromSequence(axis=0).evaluate(parts).tolist() == [0, 1, 2, 3, 4]
    assert ConcatFromSequence(axis=0, new_axis=1).evaluate([one, one]).shape == (2, 1)


def test_optionals() -> None:
    assert Optional().infer(f32(2)) == OptionalType(f32(2))
    assert Optional(f32(BATCH)).infer() == OptionalType(f32(BATCH))
    with pytest.raises(Diagnostic, match="needs the attribute type"):
        Optional().infer()
    assert OptionalGetElement().infer(OptionalType(f32(2))) == f32(2) == OptionalGetElement().infer(f32(2))
    assert OptionalHasElement().infer().content == (0,)
    assert OptionalHasElement().infer(f32(1)).content == (1,)
    assert OptionalHasElement().infer(OptionalType(f32(1))).content is None
    assert not OptionalHasElement().evaluate() and OptionalHasElement().evaluate(np.zeros(1))
    with pytest.raises(ValueError, match="empty"):
        OptionalGetElement().evaluate(None)


def test_strings() -> None:
    text = TensorType(DType.STRING, (BATCH, 1))
    assert StringConcat().infer(text, TensorType(DType.STRING, (SEQ,))).shape == (BATCH, SEQ)
    assert [t.shape for t in StringSplit().infer(text)] == [(BATCH, 1, None), (BATCH, 1)]
    with pytest.raises(Diagnostic, match="may not be f32"):
        StringConcat().infer(text, f32(1))
    assert StringConcat().evaluate(strings("a", "b"), strings("x")).tolist() == ["ax", "bx"]
    parts, counts = StringSplit(",", 1).evaluate(strings("a,b,c", ""))
    assert parts.tolist() == [["a", "b,c"], ["", ""]] and counts.tolist() == [2, 1]
    assert StringSplit().evaluate(strings(" a  b "))[0].tolist() == [["a", "b"]]
    assert RegexFullMatch(r"\d+").evaluate(strings("12", "1a")).tolist() == [True, False]
    assert StringNormalizer("UPPER", stopwords=("b",)).evaluate(strings("a", "B")).tolist() == ["A"]
    assert StringNormalizer(stopwords=("a",)).evaluate(strings("a")).tolist() == [""]


def test_classic_operators() -> None:
    assert Binarizer(0.5).infer(f32(BATCH, 3)) == f32(BATCH, 3)
    assert Binarizer(0.5).evaluate(np.array([0.2, 0.7], np.float32)).tolist() == [0, 1]
    encoder = LabelEncoder(keys_strings=("a", "b"), values_int64s=(4, 5), default_int64=9)
    assert encoder.infer(TensorType(DType.STRING, (BATCH,))) == TensorType(DType.INT64, (BATCH,))
    assert encoder.evaluate(strings("b", "c")).tolist() == [5, 9]
    with pytest.raises(Diagnostic, match="no values"):
        LabelEncoder().infer(f32(1))
    labels, scores = LinearClassifier((1.0,) * 6, classlabels_ints=(0, 1, 2)).infer(f32(BATCH, 2))
    assert labels == TensorType(DType.INT64, (BATCH,)) and scores == f32(BATCH, 3)
    assert OneHotEncoder(cats_int64s=(1, 2, 3)).infer(vector(1, 2)) == f32(2, 3)


def test_tree_ensemble_by_reference() -> None:
    """One split at 1.0 on feature 0: leaves 5 and 7."""
    tree = TreeEnsemble(
        leaf_targetids=(0, 0),
        leaf_weights=ArrayData([5.0, 7.0], DType.FLOAT),
        nodes_falseleafs=(1,),
        nodes_falsenodeids=(1,),
        nodes_featureids=(0,),
        nodes_modes=ArrayData([0], DType.UINT8),
        nodes_splits=ArrayData([1.0], DType.FLOAT),
        nodes_trueleafs=(1,),
        nodes_truenodeids=(0,),
        tree_roots=(0,),
        n_targets=1,
    )
    assert tree.infer(f32(BATCH, 2)) == f32(BATCH, 1)
    assert tree.evaluate(np.array([[0.5, 0], [2, 0]], np.float32)).tolist() == [[5], [7]]


def test_training_steps_have_grouped_results() -> None:
    weights = (f32(2), f32(BATCH))
    result = Adam().infer(f32(), scalar(0), *weights, *weights, *weights, *weights)
    assert result == weights * 3
    with pytest.raises(Diagnostic, match="5 operands"):
        Adam().infer(f32(), scalar(0), *[f32(1)] * 5)
