"""The one exception root: every failure a user can cause has a code, a place, a reason and a remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of the driver."""

    DONE = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    TARGET_REFUSED = 3


@dataclass(frozen=True)
class Code:
    """A diagnostic code: what it means in general, and the driver's exit status."""

    name: str
    title: str
    explanation: str
    exit: Exit = Exit.BAD_INPUT


CODES: dict[str, Code] = {}


def code(name: str, title: str, explanation: str, exit: Exit = Exit.BAD_INPUT) -> str:
    """Register a diagnostic code and return its name (a code is registered once, in the module that raises it)."""
    if name in CODES:
        raise ValueError(f"diagnostic code {name} is registered twice")
    CODES[name] = Code(name, title, explanation, exit)
    return name


_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\n\t"}
_CONTROLS |= {c: f"\\u{c:04x}" for c in (*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))}


def printable(text: str) -> str:
    """A text that a terminal shows as it is: control, direction and surrogate characters out of a model are escaped.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return text.translate(_CONTROLS)


@dataclass
class Diagnostic(Exception):
    """An error that names the place, says why, and what to do.

    Attributes:
        code: a registered code such as ``E0203``; ``edgec explain CODE`` prints its explanation.
        message: what went wrong, in one sentence.
        where: the node, value or file, for example ``node 'conv1' (Conv)``.
        hint: what the user can do about it.
        notes: further lines of evidence.
    """

    code: str
    message: str
    where: str = ""
    hint: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.message)
        if self.code not in CODES:
            raise ValueError(f"unregistered diagnostic code {self.code}")

    @property
    def exit(self) -> Exit:
        """The driver's exit status for this failure."""
        return CODES[self.code].exit

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.message}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        lines += [f"  note: {note}" for note in self.notes]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(printable(line).replace("\n", "\n      ") for line in lines)

    def __reduce__(self) -> tuple[type[Diagnostic], tuple[object, ...]]:
        return type(self), (self.code, self.message, self.where, self.hint, self.notes)

    def to_json(self) -> dict[str, object]:
        """The same facts as plain data."""
        return {
            "code": self.code,
            "title": CODES[self.code].title,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "notes": list(self.notes),
        }


def did_you_mean(word: str, choices: list[str]) -> str:
    """A hint such as ``did you mean 'Conv'?``, or the sorted choices when nothing is close."""
    from difflib import get_close_matches

    folded = {choice.lower(): choice for choice in reversed(choices)}
    close = [folded[c] for c in get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)]
    if close:
        return f"did you mean '{close[0]}'?"
    return "choose one of: " + ", ".join(sorted(choices)) if choices else ""


# Codes of the IR itself; readers, passes, backends and the runtime register theirs where they raise them.
E_SHAPE = code(
    "E0201",
    "operand shapes do not fit the operator",
    "Shape inference found operands whose dimensions contradict each other or the operator's attributes. The model would fail "
    "in every runtime. Inspect the producer of the named operand with `edgec inspect MODEL`.",
)
E_DTYPE = code(
    "E0202",
    "operand element types do not fit the operator",
    "The operator's definition does not admit this element type, or two operands that must agree do not.",
)
E_OPERANDS = code(
    "E0203",
    "wrong number of operands or results",
    "The node has more or fewer operands or results than the operator's definition allows.",
)
E_ATTRIBUTE = code(
    "E0204",
    "an attribute is missing, unknown or has an impossible value",
    "The attribute's name, type or value contradicts the operator's definition at this opset.",
)
E_GRAPH = code(
    "E0205",
    "the graph is not well formed",
    "A value is used before it is defined, use lists disagree with operands, a cycle exists, or a stored type differs from the "
    "inferred one. If a pass caused it, `--print-after` and `edgec optimize --check-each-pass` find the pass.",
)
E_TEXT = code(
    "E0206",
    "the textual form does not parse",
    "The .edgec text is malformed at the named line and column.",
)
E_DUPLICATE = code(
    "E0208",
    "two modules define the same operator",
    "Operators are known by domain and name. A class with the domain and name of another one would change the meaning of models; a class "
    "without a `domain` belongs to ai.onnx.",
)
E_EVALUATE = code(
    "E0207",
    "an operator cannot be evaluated in Python",
    "No reference evaluation exists for this operator, or it failed on these operands.",
)
