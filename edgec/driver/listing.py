"""The commands that list what there is: passes, ops, targets, explain, explain-rule."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from ..ir.custom import CUSTOM_OPS, CustomOp, evaluates, operator_class
from ..ir.diagnostics import CODES, Diagnostic, code, did_you_mean
from ..optimizing import load_plugin_modules, open_model
from .arguments import usage_error
from .console import emit, table

E_UNKNOWN_CODE = code("E0802", "no diagnostic has this code", "`edgec explain` without a code lists all of them.")


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def list_passes(name: str | None, rules: bool, plugins: Sequence[str], as_json: bool) -> None:
    """All passes with their options, one pass, or the rewrite rules."""
    from .. import passes  # noqa: F401  (registers the passes)
    from ..passes.registry import PASSES, RULES, find_pass

    load_plugin_modules(plugins)
    if rules:
        listed = [
            {"name": r.name, "group": r.group, "description": _first_line(r.doc), "module": r.function.__module__}
            for _, r in sorted(RULES.items())
        ]
        rows = [(r["name"], r["group"], r["description"]) for r in listed]
        text = _with_plugins(("rule", "group", "what it does"), rows, listed)
        emit({"schema": "edgec.rules/1", "ok": True, "rules": listed}, as_json, text)
        return
    chosen = [find_pass(name)] if name is not None else [PASSES[key] for key in sorted(PASSES)]
    facts = [
        {
            "name": cls.name,
            "aliases": list(cls.aliases),
            "description": _first_line(_doc(cls)),
            "documentation": _doc(cls),
            "options": {f.name: None if f.default is MISSING else _plain(f.default) for f in fields(cls)},
            "module": cls.__module__,
        }
        for cls in chosen
    ]
    if name is not None:
        options = "".join(f"\n  {key} = {value}" for key, value in facts[0]["options"].items())
        text = f"{facts[0]['name']}\n\n{facts[0]['documentation']}" + (f"\n\noptions:{options}" if options else "")
    else:
        rows = [(f["name"], ", ".join(f"{k}={v}" for k, v in f["options"].items()), f["description"]) for f in facts]
        text = _with_plugins(("pass", "options", "what it does"), rows, facts)
    emit({"schema": "edgec.passes/1", "ok": True, "passes": facts}, as_json, text)


def _with_plugins(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], facts: Sequence[Mapping[str, Any]], right: Sequence[int] = ()
) -> str:
    """A table with the module of what plugins brought, when there is any."""
    modules = ["" if f["module"].partition(".")[0] == "edgec" else f["module"] for f in facts]
    if not any(modules):
        return table(heads, rows, right=right)
    return table((*heads, "plugin"), [(*row, module) for row, module in zip(rows, modules, strict=True)], right=right)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def list_ops(name: str | None, plugins: Sequence[str], as_json: bool) -> None:
    """All operators, or one with its attributes."""
    from ..ir import ops  # noqa: F401  (registers the operators)
    from ..ir.op import OPS

    load_plugin_modules(plugins)
    facts = [_op_facts(OPS[key]) for key in sorted(OPS)]
    facts += [_facts_without_class(entry) for key, entry in sorted(CUSTOM_OPS.items()) if operator_class(key) is None]
    if name is not None:
        known = [f"{f['domain']}.{f['name']}" if f["domain"] else f["name"] for f in facts]
        facts = [f for f, k in zip(facts, known, strict=True) if name in (f["name"], k, f"ai.onnx.{k}")]
        if not facts:
            hint = did_you_mean(name, known)
            raise usage_error(f"there is no operator '{name}'", "", hint if hint.startswith("did") else "`edgec ops` lists them")
    if name is not None:
        parts = []
        for f in facts:
            attributes = "".join(f"\n  {key} = {value}" for key, value in f["attributes"].items())
            routes = f"\n\nroute: {f['routes']['route']} (possible: {', '.join(f['routes']['possible'])})" if f["routes"] else ""
            head = f"{f['name']} ({f['domain'] or 'ai.onnx'})"
            parts.append(f"{head}\n\n{f['documentation']}\n\nattributes:{attributes or ' none'}{routes}")
        text = "\n\n".join(parts)
    else:
        rows = [(f["name"], f["domain"] or "ai.onnx", f["since"], f["description"]) for f in facts]
        text = _with_plugins(("operator", "domain", "since", "what it does"), rows, facts, right=(2,))
    emit({"schema": "edgec.ops/1", "ok": True, "ops": facts}, as_json, text)


def _routes(name: str) -> dict[str, Any] | None:
    """What `edgec.register_op` was told of a custom operator."""
    entry = CUSTOM_OPS.get(name)
    if entry is None:
        return None
    possible = ["keep", *["decompose"] * entry.decomposable, *["python"] * evaluates(name)]
    return {"route": entry.route, "possible": possible, "library": entry.library}


def _facts_without_class(entry: CustomOp) -> dict[str, Any]:
    """What is known of a custom operator that was registered by name."""
    domain, _, short = entry.name.rpartition(".")
    text = "A custom operator without a class: its attributes and types are not checked."
    nothing: dict[str, Any] = {"since": 1, "operands": [0, None], "results": None, "attributes": {}, "regions": []}
    described = {"description": text, "documentation": text, "module": entry.module, "routes": _routes(entry.name)}
    return {"name": short, "domain": domain, **nothing, **described}


def _op_facts(cls: Any) -> dict[str, Any]:
    least, most = cls.arity()
    attributes = {f.name: "required" if f.default is MISSING else _plain(f.default) for f in fields(cls)}
    return {
        "name": cls.op_name,
        "domain": cls.domain,
        "since": cls.since,
        "operands": [least, most],
        "results": cls.outputs,
        "attributes": attributes,
        "regions": list(cls.region_names) if isinstance(cls.region_names, tuple) else [],
        "description": _first_line(_doc(cls)),
        "documentation": _doc(cls),
        "module": cls.__module__,
        "routes": _routes(f"{cls.domain}.{cls.op_name}"),
    }


def list_targets(name: str | None, plugins: Sequence[str], as_json: bool, hardware: list[dict[str, Any]] | None = None) -> None:
    """All targets with their runtimes and the given hardware, or one target with its capability matrix and options."""
    from ..lowering.registry import backend, backend_names

    load_plugin_modules(plugins)
    chosen = [backend(name)] if name is not None else [backend(n) for n in backend_names()]
    facts: list[dict[str, Any]] = []
    for runner in chosen:
        missing = runner.available()
        facts.append(
            {
                "name": runner.name,
                "available": missing is None,
                "reason": missing,
                "version": runner.version() if missing is None else None,
                "extra": runner.extra,
                "options": {key: _plain(value) for key, value in runner.option_defaults.items()},
                "description": _first_line(_doc(type(runner))),
            }
        )
    if name is not None and facts[0]["available"]:
        facts[0]["matrix"] = [row.to_json() for row in chosen[0].matrix]
    rows = [(f["name"], f["version"] or "not installed", f["reason"] or f["description"]) for f in facts]
    text = table(("target", "runtime", ""), rows)
    if name is not None:
        text += "\n\noptions:" + "".join(f"\n  {key} = {value}" for key, value in facts[0]["options"].items())
        matrix = facts[0].get("matrix", [])
        cells = [(m["op"], m["level"], " ".join(m["dtypes"] or ["any"]), "if" if m["conditional"] else "") for m in matrix]
        if cells:
            text += "\n\n" + table(("operator", "support", "element types", ""), cells)
    if hardware is not None:
        text += "\n\n" + table(("hardware", "engines", ""), [(h["name"], " ".join(h["engines"]), h["title"]) for h in hardware])
        text += "\n\n`edgec targets show HARDWARE` prints every number with its source."
    found = {} if hardware is None else {"hardware": hardware}
    emit({"schema": "edgec.targets/1", "ok": True, "targets": facts, **found}, as_json, text)


def load_all_codes() -> None:
    """Import every module of the compiler, so that all diagnostic codes are registered."""
    import edgec

    def skip(_: str) -> None:
        """A package whose import fails belongs to an extra that is not installed."""

    for module in walk_packages(edgec.__path__, "edgec.", onerror=skip):
        try:
            import_module(module.name)
        except ImportError:
            continue  # an extra that is not installed


def explain(name: str | None, as_json: bool) -> None:
    """What a diagnostic code means, or all codes."""
    load_all_codes()
    if name is not None:
        name = name.strip().strip("[]").upper()
        if name not in CODES:
            hint = did_you_mean(name, sorted(CODES))
            raise Diagnostic(E_UNKNOWN_CODE, f"there is no diagnostic {name}", hint=hint if hint.startswith("did") else "")
    chosen = [CODES[name]] if name is not None else [CODES[key] for key in sorted(CODES)]
    facts = [{"code": c.name, "title": c.title, "explanation": c.explanation, "exit": int(c.exit)} for c in chosen]
    if name is not None:
        found = chosen[0]
        text = f"{found.name}: {found.title}\n\n{found.explanation}\n\nexit status {int(found.exit)}"
    else:
        text = table(("code", "exit", "title"), [(c.name, int(c.exit), c.title) for c in chosen])
    emit({"schema": "edgec.codes/1", "ok": True, "codes": facts}, as_json, text)


def explain_rule(rule: str, model: Path, plugins: Sequence[str], limit: int, as_json: bool) -> None:
    """Where a rewrite rule matches a model, nearly matches, or declines."""
    from .. import passes  # noqa: F401  (registers the rules)
    from ..passes.explain import explain_rule as explain_in
    from ..passes.registry import find_rule

    load_plugin_modules(plugins)
    find_rule(rule)
    explanation = explain_in(rule, open_model(model), limit=limit)
    emit({"schema": "edgec.explain-rule/1", "ok": True, **explanation.to_json()}, as_json, str(explanation))
