"""Text operators."""

from __future__ import annotations

from dataclasses import replace

from ...ir.graph import Node
from ...ir.ops.text import StringNormalizer
from ..rewriter import Result
from .base import decomposes
from .terms import Terms

PORTABLE_LOCALE = "C.UTF-8"


@decomposes(StringNormalizer, name="string-locale", group="decompose-text", targeted=True)
def string_locale(node: Node, t: Terms) -> Result:
    """The locale that every machine has, where the model names none; letters change case in it as in the usual default."""
    op = node.op
    assert isinstance(op, StringNormalizer)
    return t.apply(replace(op, locale=PORTABLE_LOCALE), *node.inputs) if not op.locale else None
