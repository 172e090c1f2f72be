"""The question `edgec ops --target T --op X --dtype int8`: how targets support operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.diagnostics import did_you_mean
from ..ir.dtypes import DType
from ..optimizing import load_plugin_modules
from .arguments import usage_error
from .console import emit, table

_FLOATS = {"float32": DType.FLOAT, "float64": DType.DOUBLE}


def parse_dtype(text: str) -> DType:
    """An element type by its short name, or that of ONNX or numpy.

    >>> parse_dtype("int8") is parse_dtype("i8") is DType.INT8
    True
    """
    wanted = text.strip().lower()
    names = {name: dtype for dtype in DType for name in (dtype.short, dtype.name.lower())} | _FLOATS
    if wanted not in names:
        raise usage_error(f"'{text}' is no element type", "--dtype", did_you_mean(wanted, list(names)))
    return names[wanted]


def query_support(
    targets: Sequence[str],
    op: str | None,
    dtype: str | None,
    version: str | None,
    hardware: str,
    plugins: Sequence[str],
    as_json: bool,
) -> None:
    """Print the rows of the capability matrices that answer the question."""
    from ..lowering.registry import backend
    from ..lowering.support import defined_dtypes, query

    load_plugin_modules(plugins)
    wanted = None if dtype is None else parse_dtype(dtype)
    name = _operator(op) if op is not None else ""
    found: list[dict[str, Any]] = []
    for target in targets:
        runner = backend(target)
        runner.require()
        at = runner.rows_version if version is None else version
        for row, level in query(runner.matrix, name, wanted, at, hardware):
            said = row.to_json() | {"level": level, "covered": level == row.level}
            if wanted is not None and wanted not in defined_dtypes(row.op):
                said |= {"level": "none", "covered": False}
            found.append({"target": target, "version": at, **said})
    rows = [(f["target"], f["version"], f["op"], f["level"], _types(f, wanted), _condition(f), _evidence(f)) for f in found]
    text = table(("target", "version", "operator", "support", "element types", "condition", "evidence"), rows)
    facts = {
        "schema": "edgec.op-support/1",
        "ok": True,
        "op": name or None,
        "dtype": None if wanted is None else wanted.short,
        "rows": found,
    }
    emit(facts, as_json, text if found else f"no matrix has a row for {name}")


def _operator(text: str) -> str:
    from ..ir import ops  # noqa: F401  (registers the operators)
    from ..ir.op import OPS

    known = [f"{domain}.{name}" if domain else name for domain, name in sorted(OPS)]
    name = text if text in known else text.removeprefix("ai.onnx.")
    if name not in known:
        raise usage_error(f"there is no operator '{text}'", "--op", did_you_mean(text, known))
    return name


def _types(row: dict[str, Any], wanted: DType | None) -> str:
    if wanted is not None:
        return wanted.short
    return "any" if row["dtypes"] is None else " ".join(row["dtypes"])


def _condition(row: dict[str, Any]) -> str:
    if not row["covered"]:
        return "this element type, version or hardware is not covered"
    if row["condition"] is not None:
        return row["condition"]["text"] or f"[{row['condition']['code']}]"
    return "under a condition" if row["conditional"] else ""


def _evidence(row: dict[str, Any]) -> str:
    span = f" ({row['since'] or 'first'} to {row['until']})" if row["until"] else f" (since {row['since']})" if row["since"] else ""
    return f"{row['kind']}: {row['evidence']}{span}"
