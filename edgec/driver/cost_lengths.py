"""Items of unequal lengths: what padding wastes, and the buckets whose expected latency the cost model finds least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from .arguments import usage_error

if TYPE_CHECKING:
    from ..costmodel.analysis.subject import Subject
    from ..costmodel.predict import Predictor

FORM = "a length, or length,count, on every line: whole numbers from 1 on"
MOST = 1 << 31

E_LENGTHS = code(
    "E0805",
    "the lengths cannot be read",
    "Lengths are whole numbers from 1 on: a list such as 12,40,33, or a file with one length, or length,count, on every line. Empty lines, "
    "lines that begin with #, and a heading are skipped.",
)


def parse_lengths(text: str) -> dict[int, int]:
    """How many items have each length: of a list such as ``12,40,33``, or of a file.

    Raises:
        Diagnostic: E0805.

    >>> parse_lengths("12,40,12")
    {12: 2, 40: 1}
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    found: dict[int, int] = {}
    if pieces and all(piece.isdecimal() for piece in pieces) and not Path(text).is_file():
        for piece in pieces:
            _count(found, piece, "1", f"'{text}'")
        return found
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Diagnostic(
            E_LENGTHS, f"neither a list nor a file: {reason}", f"'{text}'", "such as 12,40,33, or the path of a file"
        ) from error
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in line.split(",")]
        if not line.strip() or line.lstrip().startswith("#") or number == 1 and not any(field.isdecimal() for field in fields):
            continue
        if len(fields) > 2:
            raise Diagnostic(E_LENGTHS, f"'{line.strip()[:80]}' has {len(fields)} fields", f"file '{path}', line {number}", FORM)
        _count(found, fields[0], fields[1] if len(fields) == 2 else "1", f"file '{path}', line {number}")
    if not found:
        raise Diagnostic(E_LENGTHS, "there are no lengths in it", f"file '{path}'", FORM)
    return found


def _count(found: dict[int, int], length: str, count: str, where: str) -> None:
    if not (length.isdecimal() and count.isdecimal() and 0 < int(length) < MOST and int(count) < MOST):
        raise Diagnostic(E_LENGTHS, f"'{length}{'' if count == '1' else ',' + count}' is no length", where, FORM)
    if int(count):
        found[int(length)] = found.get(int(length), 0) + int(count)


def length_symbol(subject: Subject, predictor: Predictor, given: str | None) -> str:
    """The dimension that has the lengths: the one that is named, or the only one beside the batch.

    Raises:
        Diagnostic: E0801 when the model has none of this name, or several.
    """
    from ..costmodel.analysis.subject import batch_symbol

    symbols = list(predictor.compiled.schedule.inputs)
    if given is not None:
        if given not in symbols:
            raise usage_error(f"the model has no dimension '{given}'", "--length-dim", did_you_mean(given, symbols) or "it has none")
        return given
    rest = [name for name in symbols if name != batch_symbol(symbols, subject.plain)]
    if len(rest) != 1:
        named = f"choose one of: {', '.join(symbols)}" if symbols else "all dimensions of the model are fixed"
        raise usage_error("which dimension has these lengths?", "--length-dim", named)
    return rest[0]


def padding_facts(
    subject: Subject, predictor: Predictor, point: Mapping[str, int], symbol: str, lengths: Mapping[int, int], buckets: int, multiple: int
) -> dict[str, Any]:
    """Padding to the longest item and to the best buckets: shares of padding, exactly, and expected seconds of an item.

    Every candidate length is priced by one sweep of the cost model. Items of one bucket make up batches; the seconds of an item are those
    of its batch divided by the batch. Low and high are the means of the limits of the predictions.
    """
    from ..costmodel.analysis.padding import best_buckets, bucket_of, bucket_padding, expected_price
    from ..costmodel.analysis.subject import batch_symbol

    batch_name = batch_symbol(predictor.compiled.schedule.inputs, subject.plain)
    batch = point[batch_name] if batch_name and batch_name != symbol else 1
    own = sorted(lengths)
    limits = sorted({-(-length // multiple) * multiple for length in own})
    wanted = sorted({*own, *limits})
    swept = predictor.sweep({**point, symbol: wanted}).seconds / batch
    prices = {size: swept[:, i] for i, size in enumerate(wanted)}

    def seconds(chosen: Sequence[int]) -> list[float]:
        return [expected_price(lengths, chosen, lambda size, i=i: float(prices[size][i])) for i in range(3)]

    def facts(chosen: Sequence[int]) -> dict[str, Any]:
        share = bucket_padding(lengths, chosen)
        items = dict.fromkeys(chosen, 0)
        for length, count in lengths.items():
            items[bucket_of(length, chosen)] += count
        return {
            "limits": list(chosen),
            "items": list(items.values()),
            "padding": float(share),
            "padding_exact": str(share),
            "seconds": seconds(chosen),
        }

    best = best_buckets(lengths, buckets, lambda size: float(prices[size][1]), multiple)
    before, after = facts(limits[-1:]), facts(best.limits)
    return {
        "symbol": symbol,
        "batch": batch,
        "items": sum(lengths.values()),
        "distinct": len(own),
        "longest": own[-1],
        "mean": sum(length * count for length, count in lengths.items()) / sum(lengths.values()),
        "multiple": multiple,
        "before": before,
        "after": after,
        "unpadded": seconds(own),
        "saved": 1.0 - after["seconds"][1] / before["seconds"][1] if before["seconds"][1] else 0.0,
        "candidates": {"lengths": limits, "seconds": [prices[size].tolist() for size in limits]},
    }
