"""Random places for the spellings that recognisers look for."""

from __future__ import annotations

from edgec.ir.dtypes import DType
from edgec.ir.graph import Value, constant
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.slice import Slice
from tests import spellings
from tests.strategies import Builder, static_channels


def spelled(b: Builder) -> None:
    if b.chance(10):
        x = b.pick(lambda v, a: v.dtype in (DType.INT64, DType.INT32) and a.ndim >= 1, floats=False)
        b.spelled(b.choice((*spellings.HARD_SIGMOID.values(), *spellings.HARD_SWISH.values())), x)
        return
    x = b.pick(lambda v, a: a.ndim >= 1 and (v.shape or (None,))[-1] == a.shape[-1])
    b.spelled(b.choice(spellings.UNARY_SPELLINGS), x)


def spelled_channels(b: Builder) -> None:
    x = b.pick(lambda v, a: static_channels(v, a) and a.shape[1] % 2 == 0)
    b.spelled(b.choice((spellings.group_norm, spellings.spatial_norm)), x)


def _heads(b: Builder, x: Value, heads: int) -> Value:
    size = b.shape_of(x)[-1]
    return spellings.heads_of(b, b.apply(MatMul(), x, b.weights(size, heads * 4)), heads)


def attention(b: Builder) -> None:
    x = b.pick(lambda v, a: a.ndim == 3 and (v.shape or (None,))[-1] == a.shape[-1])
    batch, tokens, _ = b.shape_of(x)
    b.infinite = True
    try:
        b.spelled(lambda s, value: _attention(b, value, batch, tokens), x)
    finally:
        b.infinite = False


def _attention(b: Builder, x: Value, batch: int, tokens: int) -> Value:
    sources = [x, x, x]
    if b.chance(15):  # products broadcast over the batch
        sources[b.integer(0, 2)] = b.apply(Slice(), x, b.ints(0), b.ints(1), b.ints(0))
    q = _heads(b, sources[0], 2)
    if b.chance(30):
        k, v = (spellings.repeated(b, _heads(b, y, 1), 2) for y in sources[1:])
    else:
        k, v = (_heads(b, y, 2) for y in sources[1:])
    if b.chance(30) and isinstance(q.shape and q.shape[2], int):
        tables = spellings.rotary_tables(b, q)
        q, k = (spellings.rotated(b, y, *tables, by_split=b.chance(50)) for y in (q, k))
    kind = b.integer(0, 3)
    shape = b.choice(((tokens, tokens), (1, 1, tokens, tokens), (batch, 1, 1, tokens), (1, 1, tokens, 1), (tokens,)))
    mask = None
    if kind == 1:
        mask = b.weights(*shape)
    elif kind == 2:
        allowed = b.generator.integers(0, 2, shape).astype(bool)
        allowed[..., 0] = True
        mask = spellings.boolean_mask(b, constant(allowed), q)
    y = spellings.attention(
        b,
        q,
        k,
        v,
        mask=mask,
        scaled=b.choice(("scores/", "scores*", "q*", "q/", "both", "none")),
        guard=b.chance(20),
        scale=b.choice((None, 0.3)),
    )
    return spellings.merged(b, y) if b.chance(70) else y
