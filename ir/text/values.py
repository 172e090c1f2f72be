"""Reading types, attribute values and constants of the textual form."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

import numpy as np

from ..data import ArrayData, BufferData, TensorData, content_digest
from ..diagnostics import did_you_mean
from ..dtypes import DType
from ..types import UNKNOWN, OptionalType, SequenceType, TensorType, Type
from .dims import DimReader
from .lexer import Source, Token, tokens

_SHORT_NAMES = [t.short for t in DType]
_WORDS = {"none": None, "true": True, "false": False, "inf": math.inf, "nan": math.nan}


class ValueReader(DimReader):
    """A cursor that reads everything below the level of nodes."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, tokens(source))
        self.resources: dict[str, Token] = {}
        for index, token in enumerate(self.stream):
            if token.kind == "base64" and index >= 2:
                self.resources[self._unquote(self.stream[index - 2])] = token

    # -- words and plain data ----------------------------------------------------------------------------------------
    def _unquote(self, token: Token) -> str:
        try:
            return json.loads(token.text)
        except ValueError as error:
            self.fail(f"bad string {token.text[:40]}: {error}", token)

    def string(self, what: str = "a quoted string") -> str:
        """A quoted string."""
        return self._unquote(self.expect_kind("string", what))

    def word(self, what: str) -> str:
        """An identifier or a quoted string."""
        return self.string(what) if self.peek().kind == "string" else self.expect_kind("identifier", what).text

    def strings(self) -> tuple[str, ...]:
        """A list of quoted strings in brackets."""
        self.expect("[")
        return tuple(self.separated(self.string, "]"))

    def plain(self) -> Any:
        """JSON data: a string, number, list or mapping."""
        if self.peek().kind == "string":
            return self.string()
        if self.accept("null"):
            return None
        if self.accept("["):
            return self.separated(self.plain, "]")
        if self.accept("{"):
            return dict(self.separated(self._pair, "}"))
        return self.scalar()

    def _pair(self) -> tuple[str, Any]:
        key = self.string("a quoted key")
        self.expect(":")
        return key, self.plain()

    def scalar(self) -> Any:
        """A number, ``true``, ``false``, ``none``, ``inf`` or ``nan``."""
        start = self.peek()
        negative = self.accept("-")
        token = self.take()
        if token.kind == "number":
            number: Any = int(token.text) if token.text.isdigit() else float(token.text)
        elif token.text in _WORDS and not (negative and token.text not in ("inf", "nan")):
            number = _WORDS[token.text]
        elif token.text == "Infinity" and token.kind == "identifier":
            number = math.inf
        else:
            self.fail(f"expected a value but found '{token.text[:40]}'", start)
        return -number if negative else number

    # -- types -------------------------------------------------------------------------------------------------------
    def type(self) -> Type:
        """A tensor, sequence, optional or unknown type."""
        if self.accept("unknown"):
            return UNKNOWN
        for word, kind in (("seq", SequenceType), ("optional", OptionalType)):
            if self.accept(word):
                self.expect("<")
                element = self.type()
                self.expect(">")
                return kind(element)
        dtype = self.dtype()
        self.expect("[")
        if self.accept("*"):
            self.expect("]")
            return TensorType(dtype, None)
        shape = tuple(self.separated(self._dim, "]"))
        if self.peek().text == "{" and self.peek().kind == "punctuation":
            self.take()
            return TensorType(dtype, shape, tuple(self.separated(self._dim, "}")))  # type: ignore[arg-type]
        return TensorType(dtype, shape)  # type: ignore[arg-type]

    def _dim(self) -> Any:
        return None if self.accept("?") else self.expression()

    def dtype(self) -> DType:
        """The short name of an element type."""
        token = self.expect_kind("identifier", "an element type")
        try:
            return DType.from_short(token.text)
        except KeyError:
            self.fail(f"'{token.text}' is no element type", token, did_you_mean(token.text, _SHORT_NAMES))

    # -- attributes and constants ------------------------------------------------------------------------------------
    def attribute(self) -> Any:
        """An attribute value."""
        token = self.peek()
        if token.kind == "string":
            return self.string()
        if token.kind == "hex":
            return bytes.fromhex(self.take().text[4:-1])
        if self.accept("["):
            return tuple(self.separated(self.attribute, "]"))
        if self.accept("type"):
            return self.type()
        if self.accept("const"):
            return self.tensor()
        if token.kind == "identifier" and token.text not in _WORDS:
            return self.dtype()
        return self.scalar()

    def tensor(self) -> TensorData:
        """A constant: element type, shape and elements."""
        start = self.peek()
        dtype = self.dtype()
        self.expect("[")
        shape = tuple(self.separated(self._integer, "]"))
        if self.accept("resource"):
            return self._resource(dtype, shape)
        if self.accept("elided"):
            self.fail("the contents of this constant were elided", start, "print the graph with elide=False to read it back")
        token = self.peek()
        if token.kind == "hex":
            self.take()
            return self._packed(bytes.fromhex(token.text[4:-1]), dtype, shape, token)
        self.expect("[")
        item = self.string if dtype is DType.STRING else self.scalar
        elements: list[Any] = self.separated(item, "]")
        if len(elements) != math.prod(shape):
            self.fail(f"{dtype}{list(shape)} has {math.prod(shape)} elements, not {len(elements)}", token)
        return self._array(elements, dtype, shape, token)

    def _array(self, elements: list[Any], dtype: DType, shape: tuple[int, ...], token: Token) -> TensorData:
        try:
            if dtype is DType.STRING:
                array = np.empty(len(elements), dtype=object)
                array[:] = elements
            elif dtype.bits < 8 and dtype.is_integer:
                low, high = (-(1 << dtype.bits - 1), 1 << dtype.bits - 1) if dtype.is_signed_integer else (0, 1 << dtype.bits)
                if any(not low <= e < high for e in elements):
                    raise OverflowError(f"{dtype} holds {low} to {high - 1}")
                array = np.array(elements, np.int8).astype(dtype.numpy)
            elif dtype.is_float:
                array = np.array(elements, np.float64).astype(dtype.numpy)
            else:
                array = np.array(elements, dtype.numpy)
        except (OverflowError, TypeError, ValueError) as error:
            self.fail(f"the elements do not fit {dtype}: {error}", token)
        return ArrayData(array.reshape(shape), dtype)

    def _packed(self, raw: bytes, dtype: DType, shape: tuple[int, ...], token: Token) -> TensorData:
        try:
            if dtype is DType.STRING:
                raise ValueError("strings have no packed form")
            return BufferData(dtype, shape, raw, 0, len(raw))
        except ValueError as error:
            self.fail(str(error), token)

    def _resource(self, dtype: DType, shape: tuple[int, ...]) -> TensorData:
        token = self.peek()
        digest = self.string("the digest of a resource")
        held = self.resources.get(digest)
        if held is None:
            self.fail(f"no resource {digest} follows", token, "was the end of the text cut off?")
        try:
            raw = base64.b64decode("".join(held.text[5:-1].split()), validate=True)
        except binascii.Error as error:
            self.fail(f"resource {digest} is not valid base64: {error}", held)
        data = self._packed(raw, dtype, shape, held)
        if content_digest(data).hex() != digest:
            self.fail(f"the contents of resource {digest} do not have that digest", held, "the text was damaged or edited")
        return data
