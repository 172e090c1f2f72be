"""Operators of texts, and of the numbers that stand for words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.reduction import ReduceMin
from ...ir.ops.text import StringNormalizer, TfIdfVectorizer
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

PORTABLE_LOCALE = "C.UTF-8"


@decomposes(StringNormalizer, name="string-locale", group="decompose-text", targeted=True)
def string_locale(node: Node, t: Terms) -> Result:
    """The locale that every machine has, where the model names none; letters change case in it as in the usual default."""
    op = node.op
    assert isinstance(op, StringNormalizer)
    return t.apply(replace(op, locale=PORTABLE_LOCALE), *node.inputs) if not op.locale else None


@decomposes(TfIdfVectorizer, name="decompose-tf-idf", group="decompose-text")
def tf_idf(node: Node, t: Terms) -> Result:
    """Every window of the words, skips included, compared with every n-gram of the pool; the matches are counted."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, TfIdfVectorizer) and x is not None
    if x.dtype not in (DType.INT32, DType.INT64) or op.pool_int64s is None:
        return Decline("the words are texts")
    length = x.shape[-1] if x.shape else None
    if not isinstance(length, int) or op.weights is not None and len(op.weights) != max(op.ngram_indexes) + 1:
        return Decline("the number of words is not known, or the weights do not fit")
    rows = t.reshape(x, [-1, length])
    counts: list[Value] = []
    columns: list[int] = []
    for size, grams in _grams(op).items():
        found: Value | None = None
        for step in range(1, op.max_skip_count + 2 if size > 1 else 2):
            windows = np.arange(max(length - (size - 1) * step, 0))[:, None] + np.arange(size) * step
            if not len(windows):
                continue
            words = t.reshape(t.take(rows, t.ints(windows.reshape(-1).tolist()), 1), [-1, len(windows), 1, size])
            same = t.cast(t.equal(words, t.constant(np.array(list(grams), x.dtype.numpy)[None, None])), DType.FLOAT)
            whole = t.apply(ReduceMin(keepdims=0), same, t.ints([-1]))
            here = t.total(whole, [1], keepdims=False)
            found = here if found is None else t.add(found, here)
        if found is not None:
            counts.append(found)
            columns += grams.values()
    if not counts:
        return Decline("there are more words in every n-gram than in the operand")
    width = max(op.ngram_indexes) + 1
    places = np.zeros((len(columns), width), np.float32)
    places[np.arange(len(columns)), columns] = 1
    y = t.matmul(t.concat(counts, 1), t.constant(places))
    if op.mode == "IDF":
        y = t.cast(t.greater(y, 0.0), DType.FLOAT)
    if op.mode != "TF" and op.weights is not None:
        y = t.mul(y, t.constant(np.array(op.weights, np.float32)))
    return t.reshape(y, [width]) if x.rank == 1 else y


def _grams(op: TfIdfVectorizer) -> dict[int, dict[tuple[int, ...], int]]:
    """By their length, the n-grams that count, with the columns of their counts; of equal ones the last."""
    assert op.pool_int64s is not None
    found: dict[int, dict[tuple[int, ...], int]] = {}
    number = 0
    for size, start in enumerate(op.ngram_counts, 1):
        end = op.ngram_counts[size] if size < len(op.ngram_counts) else len(op.pool_int64s)
        for at in range(start, end - size + 1, size):
            if op.min_gram_length <= size <= op.max_gram_length:
                found.setdefault(size, {})[op.pool_int64s[at : at + size]] = op.ngram_indexes[number]
            number += 1
    return found
