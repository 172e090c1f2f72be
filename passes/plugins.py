"""Plugins: modules whose import registers operators, rules, passes and targets."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from ..ir.diagnostics import Diagnostic, code

GROUP = "edgec.plugins"

E_PLUGIN = code(
    "E0406",
    "a plugin cannot be loaded",
    "The import of a plugin fails: of a module or file that --plugin names, or of an installed package with an entry point of the group "
    "`edgec.plugins`. The notes say where. Correct the module, or uninstall the package.",
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
        present = _loaded.get(point.name)
        if present == point.value:
            continue
        package = point.dist.name if point.dist is not None else point.value
        if present is not None:
            message = f"two installed packages have a plugin '{point.name}': the modules {present} and {point.value}"
            raise Diagnostic(E_PLUGIN, message, f"package {package}", "uninstall one of the two")
        _register_own()
        try:
            point.load()
        except (Exception, SystemExit) as error:
            remedy = f"uninstall {package} or update it"
            raise _failure(point.name, f"package {package}, module {point.value}", remedy, error) from error
        _loaded[point.name] = point.value
    return dict(sorted(_loaded.items()))


def load_plugin(name: str) -> ModuleType:
    """Import a plugin by the name of its module (the current folder is searched too) or by the path of its file.

    Raises:
        Diagnostic: there is no such module, or its import fails.
    """
    _register_own()
    if name.endswith(".py") or os.sep in name:
        return _load_file(Path(name))
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            hint = "name a module that Python can import here, or the path of a .py file"
            raise Diagnostic(E_PLUGIN, f"there is no module '{error.name}'", f"plugin '{name}'", hint) from error
        raise _failure(name, f"module '{name}'", "install what the module needs", error) from error
    except (Exception, SystemExit) as error:
        raise _failure(name, f"module '{name}'", "correct the module, or leave it out", error) from error
    finally:
        if added:
            sys.path.remove(here)


def _load_file(path: Path) -> ModuleType:
    """Import a file as the module that it would be in its folder."""
    where = f"file '{path}'"
    file = str(path.resolve())
    if not path.is_file():
        raise Diagnostic(E_PLUGIN, "the plugin does not exist", where, "name a .py file, or a module without a path")
    present = sys.modules.get(path.stem)
    if present is not None and getattr(present, "__file__", None) == file:
        return present
    if present is not None:
        raise Diagnostic(E_PLUGIN, f"another module has the name '{path.stem}'", where, "rename the file")
    spec = spec_from_file_location(path.stem, file)
    if spec is None or spec.loader is None:
        raise Diagnostic(E_PLUGIN, "the plugin is no Python module", where, "name a .py file")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise _failure(str(path), where, "correct the file, or leave it out", error) from error
    return module


def _register_own() -> None:
    """Register what belongs to edgec first, so that it is the plugin that is told of a name given twice."""
    from .. import passes  # noqa: F401
    from ..ir import ops  # noqa: F401


def _failure(name: str, where: str, remedy: str, error: BaseException) -> Diagnostic:
    """The failure of a plugin's import: what a plugin's own diagnostic says, or the exception and its line."""
    if isinstance(error, Diagnostic):
        notes = [f"{error.where}: {error.message}" if error.where else error.message, *error.notes]
        return Diagnostic(E_PLUGIN, f"plugin '{name}' failed to load ({error.code})", where, error.hint or remedy, notes)
    frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if len(frames) > 1 else ""
    notes = [f"raised at {place}"] if place else []
    return Diagnostic(E_PLUGIN, f"plugin '{name}' failed to load: {type(error).__name__}: {error}", where, remedy, notes)
