"""Symbolic dimensions as text that reads back as the same expression."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn, TypeVar

from ..dims import Atom, Dim, Expr, apply_function, quote_symbol, symbol
from .lexer import Source, Token, tokens

T = TypeVar("T")
FUNCTIONS = ("floordiv", "mod", "max", "min", "broadcast")


@lru_cache(maxsize=4096)
def format_dim(dim: Dim) -> str:
    """The dimension as text: the usual spelling where it reads back as the same expression, else function calls."""
    text = str(dim)
    if isinstance(dim, int) or _reads_back(text, dim):
        return text
    return _spell(dim)


def _reads_back(text: str, dim: Expr) -> bool:
    from ..diagnostics import Diagnostic

    try:
        source = Source(text, "dimension")
        reader = DimReader(source, tokens(source))
        return reader.expression() == dim and reader.peek().kind == "end"
    except Diagnostic:
        return False


def _spell(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    parts = []
    for monomial, coefficient in dim.terms:
        factors = [_spell_atom(atom) for atom, power in monomial for _ in range(power)]
        parts.append("*".join([str(coefficient), *factors]))
    return " + ".join(parts)


def _spell_atom(atom: Atom) -> str:
    if atom.arguments is None:
        return quote_symbol(atom.name)
    return f"{atom.name}({', '.join(_spell(a) for a in atom.arguments)})"


class DimReader:
    """A cursor over tokens that reads dimension expressions with Python's precedences."""

    def __init__(self, source: Source, stream: list[Token]) -> None:
        self.source, self.stream, self.position = source, stream, 0

    # -- the cursor --------------------------------------------------------------------------------------------------
    def peek(self) -> Token:
        """The next token, which stays."""
        return self.stream[self.position]

    def take(self) -> Token:
        """The next token."""
        token = self.stream[self.position]
        if token.kind != "end":
            self.position += 1
        return token

    def accept(self, text: str) -> bool:
        """Take the next token if it is this punctuation or word."""
        token = self.stream[self.position]
        if token.text == text and token.kind in ("punctuation", "identifier"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        """Take this punctuation or word, or fail."""
        token = self.peek()
        if not self.accept(text):
            self.fail(f"expected '{text}' {self.found()}", token)
        return token

    def expect_kind(self, kind: str, what: str) -> Token:
        """Take a token of this kind, or fail saying what was expected."""
        if self.peek().kind != kind:
            self.fail(f"expected {what} {self.found()}")
        return self.take()

    def found(self) -> str:
        """``but the text ends`` or ``but found 'x'``, for messages."""
        token = self.peek()
        return "but the text ends" if token.kind == "end" else f"but found '{token.text[:40]}'"

    def fail(self, message: str, token: Token | None = None, hint: str = "") -> NoReturn:
        """Raise the diagnostic at a token (default: the next one)."""
        self.source.fail(message, (token or self.peek()).offset, hint)

    # -- expressions -------------------------------------------------------------------------------------------------
    def expression(self) -> Dim:
        """A sum of terms."""
        total = self._term()
        while self.peek().text in ("+", "-"):
            sign = self.take().text
            term = self._term()
            total = total + term if sign == "+" else total - term
        return total

    def _term(self) -> Dim:
        product = self._factor()
        while self.peek().text in ("*", "//", "%"):
            token = self.take()
            factor = self._factor()
            if token.text == "*":
                product = product * factor
            else:
                product = self._apply("floordiv" if token.text == "//" else "mod", [product, factor], token)
        return product

    def _factor(self) -> Dim:
        if self.accept("-"):
            return -1 * self._factor()
        base = self._primary()
        if self.accept("**"):
            return base ** self._integer()
        return base

    def _integer(self) -> int:
        token = self.expect_kind("number", "a whole number")
        if not token.text.isdigit():
            self.fail(f"expected a whole number but found '{token.text}'", token)
        return int(token.text)

    def _primary(self) -> Dim:
        token = self.peek()
        if token.kind == "number":
            return self._integer()
        if token.kind == "symbol":
            self.take()
            return self._quoted_symbol(token)
        if token.kind == "identifier":
            self.take()
            if token.text in FUNCTIONS and self.accept("("):
                arguments = self.separated(self.expression, ")")
                least = 2 if token.text in ("floordiv", "mod") else 1
                if len(arguments) < least:
                    self.fail(f"{token.text} takes two arguments", token)
                return self._apply(token.text, arguments, token)
            return symbol(token.text)
        if self.accept("("):
            inner = self.expression()
            self.expect(")")
            return inner
        self.fail(f"expected a dimension {self.found()}")

    def _quoted_symbol(self, token: Token) -> Dim:
        try:
            return symbol(json.loads('"' + token.text[1:-1].replace('"', "\\u0022") + '"'))
        except ValueError as error:
            self.fail(f"bad escape in {token.text[:40]}: {error}", token)

    def _apply(self, function: str, arguments: list[Dim], token: Token) -> Dim:
        try:
            return apply_function(function, arguments)
        except (ValueError, ZeroDivisionError) as error:
            self.fail(str(error), token)

    def separated(self, item: Callable[[], T], end: str) -> list[T]:
        """Items separated by commas up to and with the closing token."""
        found: list[T] = []
        if self.accept(end):
            return found
        while True:
            found.append(item())
            if self.accept(end):
                return found
            self.expect(",")
