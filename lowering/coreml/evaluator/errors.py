"""The failures of the package evaluator."""

from __future__ import annotations

from typing import NoReturn

from ....ir.diagnostics import Diagnostic, Exit, code

E_PACKAGE = code(
    "E0540",
    "the Core ML package cannot be read",
    "The folder is not an ML Program package, its specification does not parse, or a weight that it refers to is missing or damaged. "
    "Compile the model again.",
)
E_OPERATOR = code(
    "E0541",
    "the package evaluator does not know an operator",
    "Packages are verified off the device by evaluating them operator by operator. The named operator, or the form of it that the package "
    "uses, has no evaluation (or its result is random), so nothing can be said about the package's results.",
    Exit.TARGET_REFUSED,
)
E_EVALUATION = code(
    "E0542",
    "an operator of the package cannot be evaluated on these values",
    "The operands violate the operator's documentation (an index out of range, sizes that do not fit), or the documentation leaves the "
    "result open for them. The evaluator stops instead of choosing one of several results.",
)
E_DECLARED = code(
    "E0543",
    "a value of the package is not what the package declares",
    "Evaluating an operator gave another element type or shape than the package declares for its result: the package is inconsistent.",
)
E_FLEXIBLE = code(
    "E0544",
    "an input has a size that the package does not admit",
    "The package lists the shapes that its flexible inputs may take. Feed one of them, or compile with other ranges.",
)


class Undefined(Exception):
    """Raised by an operator's evaluation: why there is no result. The evaluator adds the place and makes a `Diagnostic` of it.

    Args:
        reason: what is wrong, in a clause that completes "because".
        unknown: whether the form of the operator is not known, rather than these operands being wrong.
    """

    def __init__(self, reason: str, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


def undefined(reason: str) -> NoReturn:
    """Stop: the operator has no defined result for these operands."""
    raise Undefined(reason)


def unsupported(reason: str) -> NoReturn:
    """Stop: the evaluator does not know this form of the operator."""
    raise Undefined(reason, unknown=True)


def damaged(message: str, where: str = "", hint: str = "compile the model again") -> Diagnostic:
    """The failure of a package that cannot be read."""
    return Diagnostic(E_PACKAGE, message, where, hint)
