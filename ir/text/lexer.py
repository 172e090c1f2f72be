"""Tokens of the textual form, with their places for error messages."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple, NoReturn

from ..diagnostics import E_TEXT, Diagnostic

BARE_VALUE = r"[A-Za-z0-9_.$/-]+(?::{1,2}[A-Za-z0-9_.$/-]+)*"  # a colon belongs to a name only inside of it
IDENTIFIER = r"[A-Za-z_][A-Za-z_0-9.]*"
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
PUNCTUATION = r"\*\*|//|[-+*%/(){}\[\]<>,:;=@?]"

_TOKEN = re.compile(
    rf"""(?P<space>(?:[ \t\r\n]+|\#[^\n]*)+)
    |(?P<value>%(?:{BARE_VALUE}|"(?:[^"\\\n]|\\.)*"))
    |(?P<base64>b64"[A-Za-z0-9+/=\s]*")
    |(?P<hex>hex"[0-9a-f]*")
    |(?P<identifier>{IDENTIFIER})
    |(?P<number>{NUMBER})
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<symbol>'(?:[^'\\\n]|\\.)*')
    |(?P<punctuation>{PUNCTUATION})""",
    re.VERBOSE,
)
_MODULO = re.compile(r"%(?=\s)")


class Token(NamedTuple):
    """A token: its kind (a group name of the lexer, or ``end``), its text and its offset in the source."""

    kind: str
    text: str
    offset: int


class Source:
    """A text with its name; turns offsets into line and column."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self._starts: list[int] | None = None

    def place(self, offset: int) -> str:
        """``name:line:column``, both counted from 1."""
        if self._starts is None:
            self._starts = [0, *(m.end() for m in re.finditer("\n", self.text))]
        line = bisect_right(self._starts, offset)
        return f"{self.name}:{line}:{offset - self._starts[line - 1] + 1}"

    def fail(self, message: str, offset: int, hint: str = "") -> NoReturn:
        """Raise the diagnostic for a malformed text."""
        raise Diagnostic(E_TEXT, message, self.place(offset), hint)


def tokens(source: Source) -> list[Token]:
    """All tokens of a text without spaces and comments, ended by one of kind ``end``."""
    found: list[Token] = []
    position, text = 0, source.text
    while position < len(text):
        match = _MODULO.match(text, position) or _TOKEN.match(text, position)
        if match is None:
            quoted = text[position] in "\"'" or text.startswith(('b64"', 'hex"'), position)
            source.fail("the quoted text does not end" if quoted else f"unexpected character {text[position]!r}", position)
        kind = match.lastgroup or "punctuation"  # a modulo sign stands before a space, a value's name does not
        if kind != "space":
            found.append(Token(kind, match.group(), position))
        position = match.end()
    found.append(Token("end", "", len(text)))
    return found
