"""The registries of passes and rewrite rules, filled by import, and look-up with helpful failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic, code, did_you_mean

if TYPE_CHECKING:
    from .base import Pass
    from .rewriter import Rule

PASSES: dict[str, type[Pass]] = {}
ALIASES: dict[str, str] = {}
RULES: dict[str, Rule] = {}

E_UNKNOWN_PASS = code(
    "E0401",
    "no pass has this name",
    "The pipeline text names a pass that is not registered. `edgec passes` lists them; passes of plugins appear "
    "once the plugin is installed.",
)
E_UNKNOWN_RULE = code(
    "E0402",
    "no rewrite rule has this name",
    "Rules are named after what they do, such as `fuse-conv-relu`. `edgec passes --rules` lists them.",
)


def find_pass(name: str) -> type[Pass]:
    """The pass class with this name or alias; `Diagnostic` with a suggestion when there is none."""
    found = PASSES.get(ALIASES.get(name, name))
    if found is None:
        raise Diagnostic(E_UNKNOWN_PASS, f"there is no pass '{name}'", hint=did_you_mean(name, list(PASSES)))
    return found


def find_rule(name: str) -> Rule:
    """The rewrite rule with this name; `Diagnostic` with a suggestion when there is none."""
    found = RULES.get(name)
    if found is None:
        raise Diagnostic(E_UNKNOWN_RULE, f"there is no rule '{name}'", hint=did_you_mean(name, list(RULES)))
    return found


def rules_in(*groups: str) -> tuple[Rule, ...]:
    """The rules of some groups, in order of registration."""
    return tuple(rule for rule in RULES.values() if rule.group in groups)
