"""Einstein sums by transposes, reshapes, products and sums."""

from __future__ import annotations

from ...ir.graph import Node, Value
from ...ir.ops.matmul import Einsum, parse_equation
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms


@decomposes(Einsum, name="decompose-einsum", group="decompose-products")
def einsum(node: Node, t: Terms) -> Result:
    """Pairs of operands joined by matrix products, from the left; labels that nothing needs any more are summed away."""
    op = node.op
    assert isinstance(op, Einsum)
    terms, result = parse_equation(op.equation)
    operands = [v for v in node.inputs if v is not None]
    if any(v.rank is None for v in operands):
        return Decline("the rank of an operand is not known")
    terms, result = _without_ellipsis(terms, result, [v.rank or 0 for v in operands])
    if any(len(set(term)) < len(term) for term in terms):
        return Decline("a term takes a diagonal")
    if len(set(result)) < len(result):
        return Decline("the result repeats a label")
    labels, value = terms[0], t.widen(operands[0])
    for position, (term, operand) in enumerate(zip(terms[1:], operands[1:], strict=True), start=1):
        needed = set(result).union(*terms[position + 1 :])
        labels, value = _joined(t, labels, value, term, t.widen(operand), needed)
    labels, value = _summed(t, labels, value, set(result))
    return t.cast(t.transpose(value, [labels.index(x) for x in result]), node.output.dtype)


def _without_ellipsis(terms: list[str], result: str, ranks: list[int]) -> tuple[list[str], str]:
    """The equation with labels of their own for the axes under each ellipsis, aligned at the right."""
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if not any(c in x for x in (*terms, result))]
    extra = [rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks, strict=True)]
    most = max(extra, default=0)
    names = "".join(spare[:most])
    plain = [term.replace("...", names[most - count :] if count else "") for term, count in zip(terms, extra, strict=True)]
    return plain, result.replace("...", names)


def _summed(t: Terms, labels: str, value: Value, kept: set[str]) -> tuple[str, Value]:
    gone = [i for i, x in enumerate(labels) if x not in kept]
    if not gone:
        return labels, value
    return "".join(x for x in labels if x in kept), t.total(value, gone, keepdims=False)


def _joined(t: Terms, left: str, a: Value, right: str, b: Value, needed: set[str]) -> tuple[str, Value]:
    """The product of two labelled values with the labels summed that nothing needs any more."""
    left, a = _summed(t, left, a, needed | set(right))
    right, b = _summed(t, right, b, needed | set(left))
    shared = [x for x in left if x in right]
    if any(t_size(a, left, x) != t_size(b, right, x) for x in shared):
        return _broadcast(t, left, a, right, b, needed)
    batch = [x for x in shared if x in needed]
    inner = [x for x in shared if x not in needed]
    rows, columns = [x for x in left if x not in right], [x for x in right if x not in left]
    sizes = {x: t.dim(a, i) for i, x in enumerate(left)} | {x: t.dim(b, i) for i, x in enumerate(right)}
    a = t.transpose(a, [left.index(x) for x in (*batch, *rows, *inner)])
    b = t.transpose(b, [right.index(x) for x in (*batch, *inner, *columns)])
    groups = [sizes[x] for x in batch]
    if len(rows) != 1 or len(inner) != 1:
        a = t.reshape(a, [*groups, t.product([sizes[x] for x in rows]), t.product([sizes[x] for x in inner])])
    if len(inner) != 1 or len(columns) != 1:
        b = t.reshape(b, [*groups, t.product([sizes[x] for x in inner]), t.product([sizes[x] for x in columns])])
    joined = t.matmul(a, b)
    if len(rows) != 1 or len(columns) != 1:
        joined = t.reshape(joined, [*groups, *(sizes[x] for x in rows), *(sizes[x] for x in columns)])
    return "".join((*batch, *rows, *columns)), joined


def t_size(value: Value, labels: str, label: str) -> object:
    """The dimension of a label, as inference knows it."""
    assert value.shape is not None
    return value.shape[labels.index(label)]


def _broadcast(t: Terms, left: str, a: Value, right: str, b: Value, needed: set[str]) -> tuple[str, Value]:
    """The same by an elementwise product, where a shared label has size 1 on one side."""
    labels = left + "".join(x for x in right if x not in left)
    b = t.transpose(b, [right.index(x) for x in labels if x in right])
    a = t.unsqueeze(a, [i for i, x in enumerate(labels) if x not in left])
    b = t.unsqueeze(b, [i for i, x in enumerate(labels) if x not in right])
    return _summed(t, labels, t.mul(a, b), needed)
