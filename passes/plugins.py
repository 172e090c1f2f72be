"""Plugins: installed packages whose import registers operators, rules and passes."""

from __future__ import annotations

from ..ir.diagnostics import Diagnostic, code

GROUP = "edgec.plugins"

E_PLUGIN = code(
    "E0406",
    "a plugin cannot be loaded",
    "An installed package declares an entry point of the group `edgec.plugins` whose import fails. Update or uninstall the package.",
)

_loaded: dict[str, str] = {}


def load_plugins(group: str = GROUP) -> dict[str, str]:
    """Import every installed plugin once.

    Returns:
        What was loaded so far: entry point names with the modules they name, sorted by name.

    Raises:
        Diagnostic: a plugin's import fails.
    """
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        if point.name in _loaded:
            continue
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist is not None else point.value
            raise Diagnostic(
                E_PLUGIN,
                f"plugin '{point.name}' failed to load: {type(error).__name__}: {error}",
                f"package {package}",
                f"uninstall {package} or update it",
            ) from error
        _loaded[point.name] = point.value
    return dict(sorted(_loaded.items()))
