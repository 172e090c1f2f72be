"""What can be wrong with a target file."""

from __future__ import annotations

from ...ir.diagnostics import Diagnostic, code

E_UNKNOWN_TARGET = code(
    "E1001",
    "no target has this name",
    "A target is a name that `edgec targets` lists, a file of the folder that the variable EDGEC_TARGETS names, or the "
    "path of a TOML file. docs/targets.md describes the format.",
)
E_TARGET_FILE = code(
    "E1002",
    "a target file cannot be read",
    "The file is missing, is not TOML, or a chain of `inherits` leads back to itself.",
)
E_TARGET_KEY = code(
    "E1003",
    "a target file has an unknown key",
    "Keys that nothing reads would be silent mistakes: every key of a target file must be one that docs/targets.md describes.",
)
E_TARGET_NUMBER = code(
    "E1004",
    "a number of a target file is missing or incomplete",
    "Every number is a table with a value, a unit, a tag (datasheet, measured, computed or estimate) and a source, and a spread unless it "
    'is exact: `{ value = 68, unit = "GB/s", tag = "datasheet", source = "ds" }`. A unit must fit what the number means.',
)
E_TARGET_ABSURD = code(
    "E1005",
    "a number of a target file is absurd",
    "The number contradicts physics, or another number of the same file, by so much that it must be a slip: a negative or zero bandwidth, "
    "an interval that does not contain its value, an int8 peak a thousand times that of float32.",
)
E_TARGET_VALUE = code(
    "E1006",
    "a target file has a value of the wrong kind",
    "A text, an integer, a list or a table was expected, or one of a fixed set of words.",
)


def problem(code_: str, file: str, key: str, message: str, hint: str, *notes: str) -> Diagnostic:
    """A diagnostic that names the file and the key."""
    return Diagnostic(code_, message, f"{file}: {key}" if key else file, hint, list(notes))
