"""Phases of text generation: loading, reading the prompt, decoding with a growing cache, and choosing tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic, code
from ...ir.dims import Expr
from ...ir.graph import Graph
from ...ir.types import TensorType
from ..evaluation import Array
from ..geometry_parts import is_view
from ..operators import ATTENTIONS
from ..predict import Predictor
from ..prediction import Range
from .batching import touched_bytes

E_PHASES = code(
    "E1022",
    "the phases of generation cannot be priced",
    "Phases need a model of token sequences: a symbolic batch and sequence length, and, for decoding with a cache, inputs that hold past "
    "keys and values. Name the symbols with --phases batch_symbol=…,sequence_symbol=…,past_symbol=… when they are not recognised.",
)
_BATCH = re.compile(r"batch|^n$|^b$|^bs$", re.IGNORECASE)


@dataclass(frozen=True)
class PhaseSymbols:
    """Which symbol is what.

    Attributes:
        batch: sequences that are generated at once; empty when it is fixed.
        sequence: new tokens of a step.
        past: tokens in the cache; empty when the model keeps none.
        total: symbols that stand for past and new tokens together.
        caches: the types of the inputs that hold past keys and values.
    """

    batch: str
    sequence: str
    past: str = ""
    total: tuple[str, ...] = ()
    caches: tuple[TensorType, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"batch": self.batch, "sequence": self.sequence, "past": self.past, "total": list(self.total)}

    def bind(self, batch: Any, sequence: Any, past: Any) -> dict[str, Any]:
        """Values of all symbols; a model without cache reads all tokens again."""
        found: dict[str, Any] = {self.batch: batch} if self.batch else {}
        found[self.sequence] = sequence if self.past else np.asarray(sequence) + np.asarray(past)
        if self.past:
            found[self.past] = past
        whole = np.asarray(sequence) + np.asarray(past)
        found.update(dict.fromkeys(self.total, whole))
        return found


def phase_symbols(graph: Graph) -> PhaseSymbols:
    """Recognise the symbols by the structure of the inputs: token identifiers, and caches that attention or a concatenation appends to.

    Raises:
        Diagnostic: E1022 when there is no symbolic sequence.
    """
    past = [name for value in graph.inputs if (name := _past_symbol(value))]
    caches = [value.type for value in graph.inputs if _past_symbol(value) and isinstance(value.type, TensorType)]
    tokens = [v for v in graph.inputs if v.shape is not None and len(v.shape) >= 2 and not _past_symbol(v)]
    tokens.sort(key=lambda v: not v.dtype.is_integer if v.dtype is not None else True)
    for value in tokens:
        shape = value.shape or ()
        names = [d if isinstance(d, int) else _single(d) for d in shape[:2]]
        if isinstance(names[1], str) and names[1] and names[1] not in past and "total" not in names[1]:
            batch = names[0] if isinstance(names[0], str) else ""
            others = _other_symbols(graph, {batch, names[1], *past})
            return PhaseSymbols(batch, names[1], past[0] if past else "", others, tuple(caches))
    raise Diagnostic(E_PHASES, "no input is a sequence of symbolic length", hint="export the model with dynamic axes")


def _single(dim: Any) -> str:
    names = list(dim.symbols()) if isinstance(dim, Expr) else []
    return names[0] if len(names) == 1 else ""


def _other_symbols(graph: Graph, known: set[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in graph.inputs:
        for dim in value.shape or ():
            if isinstance(dim, Expr):
                found.update((s, None) for s in dim.symbols() if s not in known)
    return tuple(found)


def _past_symbol(value: Any) -> str:
    """The growing symbol of an input that attention takes as its past, or that a concatenation extends."""
    if value.shape is None or len(value.shape) < 3:
        return ""
    for user, position in value.uses:
        name = getattr(getattr(user, "op", None), "op_name", "")
        if name in ATTENTIONS and position in (4, 5, 6, 7, 3):
            return _single(value.shape[-2])
        if name == "Concat":
            axis = dict(user.op.attributes()).get("axis", 0)
            return _single(value.shape[axis])
        if name and (is_view(user) or name in ("Transpose", "Gather", "Split", "Cast")):
            inner = [_past_symbol_through(user.outputs, value)]
            if inner[0]:
                return inner[0]
    return ""


def _past_symbol_through(outputs: Iterable[Any], value: Any) -> str:
    for output in outputs:
        if output.shape is not None and any(getattr(u, "op", None) is not None and u.op.op_name == "Concat" for u, _ in output.uses):
            symbols = [_single(d) for d in value.shape]
            return next((s for s in reversed(symbols) if s and not _BATCH.search(s)), "")
    return ""


@dataclass(frozen=True)
class Phases:
    """Seconds of the phases of generating text, each as low, expected and high.

    Attributes:
        batch: sequences at once.
        prompt: tokens that are read.
        generated: tokens that are made.
        init: loading the weights.
        prefill: reading the prompt, which makes the first token.
        decode: every further token ``[3, generated - 1]``; it grows with the cache.
        post: choosing tokens from the logits, of all tokens.
        joules: of prefill and decoding.
        cached: whether the model keeps keys and values; otherwise every token reads all tokens before it again.
        kv_bytes: the cache at the end.
    """

    batch: int
    prompt: int
    generated: int
    init: Range
    prefill: Range
    decode: Array
    post: Range
    joules: Range
    cached: bool
    kv_bytes: float

    @property
    def total(self) -> Range:
        """init + prefill + Σ decode + post."""
        parts = [math.fsum((self.init[i], self.prefill[i], *self.decode[i].tolist(), self.post[i])) for i in range(3)]
        return parts[0], parts[1], parts[2]

    @property
    def tokens_per_second(self) -> Range:
        """Of decoding, all sequences of the batch together."""
        steps = self.decode.shape[1]
        low, expected, high = (float(self.decode[i].sum()) for i in range(3))
        if not steps or not low:
            return 0.0, 0.0, 0.0
        return self.batch * steps / high, self.batch * steps / expected, self.batch * steps / low

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "batch": self.batch,
            "prompt": self.prompt,
            "generated": self.generated,
            "cached": self.cached,
            "init": list(self.init),
            "prefill": list(self.prefill),
            "decode": [float(self.decode[i].sum()) for i in range(3)],
            "decode_steps": self.decode[1].tolist(),
            "post": list(self.post),
            "total": list(self.total),
            "joules": list(self.joules),
            "first_token": [self.prefill[i] for i in range(3)],
            "tokens_per_second": list(self.tokens_per_second),
            "kv_bytes": self.kv_bytes,
        }


def generation_phases(
    predictor: Predictor,
    symbols: PhaseSymbols,
    prompt: int,
    generated: int,
    batch: int = 1,
    vocabulary: int = 0,
    fixed: Mapping[str, int] | None = None,
) -> Phases:
    """The phases of one generation.

    Loading copies the weights through the last memory level: 2 W / BW. Choosing a token reads its logits once.

    Args:
        predictor: the model on an engine.
        symbols: its symbols.
        prompt: tokens of the prompt, at least 1.
        generated: tokens to make, at least 1.
        batch: sequences at once.
        vocabulary: logits of a token.
        fixed: values of other symbols.
    """
    others = dict(fixed or {})
    first = predictor.sweep({**others, **symbols.bind(batch, prompt, _least_past(symbols))})
    steps = np.arange(generated - 1)
    past = np.maximum(prompt + steps, 1)
    decode, joules = np.zeros((3, 0)), first.joules[:, 0]
    if len(steps):
        swept = predictor.sweep({**others, **symbols.bind(batch, 1, past)})
        decode, joules = swept.seconds, joules + swept.joules.sum(axis=1)
    last = predictor.roofs.levels[-1].bandwidth
    weights = float(first.weight_bytes[0])
    init = tuple(2.0 * weights / rate for rate in (last.high, last.value, last.low))
    post = tuple(generated * batch * vocabulary * 4.0 / rate for rate in (last.high, last.value, last.low))
    end = {**others, **symbols.bind(batch, 1, prompt + generated)}
    kv = sum(_size(predictor.compiled.schedule.precision.bytes(cache), end) for cache in symbols.caches)
    return Phases(
        batch, prompt, generated, _range(init), _range(first.seconds[:, 0]), decode, _range(post), _range(joules), bool(symbols.past), kv
    )


def _size(dim: Any, values: Mapping[str, Any]) -> float:
    found = dim.substitute({name: int(values[name]) for name in dim.symbols() if name in values}) if isinstance(dim, Expr) else dim
    return float(found) if isinstance(found, int) else 0.0


def _least_past(symbols: PhaseSymbols) -> int:
    """A cache of no tokens is no dimension: one token stands for it."""
    return 1 if symbols.past else 0


def _range(values: Any) -> Range:
    low, expected, high = (float(v) for v in values)
    return low, expected, high


# -- intensity ---------------------------------------------------------------------------------------------------------
def phase_intensity(predictor: Predictor, symbols: PhaseSymbols, batch: Any, sequence: Any, past: Any) -> Array:
    """Operations per byte of steps, every operand touched once: AI(prefill, N) and AI(decode, B) ``[n]``."""
    points = symbols.bind(batch, sequence, past)
    sized = predictor.compiled.at(points)
    return (sized.flops * sized.count).sum(axis=0) / touched_bytes(predictor, points)


@dataclass(frozen=True)
class Crossover:
    """The batch from which decoding is bound by compute.

    Attributes:
        batch: the least one; None when the cache alone keeps the intensity below the ridge.
        heuristic: ridge times bytes per weight over two: what remains when cache and activations are free.
        limit: the intensity of an endless batch.
        ridge: of the last memory level.
    """

    batch: int | None
    heuristic: float
    limit: float
    ridge: float


def decode_crossover(predictor: Predictor, symbols: PhaseSymbols, past: int, ridge: float, weight_bits: float = 16.0) -> Crossover:
    """The batch B* at which AI(decode, B) = B F / (W + B A) reaches the ridge: ceil(ridge W / (F - ridge A)).

    Args:
        predictor: the model on an engine.
        symbols: its symbols; a batch symbol is needed.
        past: tokens in the cache.
        ridge: operations per byte.
        weight_bits: of one weight.
    """
    points = symbols.bind(np.array([1, 2]), np.array([1, 1]), np.array([past, past]))
    sized = predictor.compiled.at(points)
    flops, moved = (sized.flops * sized.count).sum(axis=0), touched_bytes(predictor, points)
    work, item = float(flops[1] - flops[0]), float(moved[1] - moved[0])
    shared, constant = float(moved[0]) - item, float(flops[0]) - work
    limit = work / item if item else math.inf
    heuristic = ridge * weight_bits / 8 / 2
    if work <= ridge * item:
        return Crossover(None, heuristic, limit, ridge)
    return Crossover(max(math.ceil((ridge * shared - constant) / (work - ridge * item)), 1), heuristic, limit, ridge)
