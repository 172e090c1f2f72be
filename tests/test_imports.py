"""Imports go one way through the packages, and the light entry points stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("ir", "costmodel", "passes", "lowering", "runtime", "edgec")


def _imported_packages(path: Path, package: str) -> set[str]:
    """The packages of this project that a module imports, lazily or not."""
    depth = len(path.relative_to(ROOT).parts) - 1
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level > depth:  # relative to the root package
                names = [module] if module else [alias.name for alias in node.names if alias.name != "__version__"]
            elif node.level == 0 and module.split(".")[0] == "edgec":
                names = [module.removeprefix("edgec").lstrip(".")]
        elif isinstance(node, ast.Import):
            names = [a.name.removeprefix("edgec.") for a in node.names if a.name.split(".")[0] == "edgec"]
        for name in names:
            top = name.split(".")[0]
            if package != "edgec" or top in ORDER:
                found.add(top if top in ORDER else "edgec")
    return found


@pytest.mark.parametrize("package", ORDER[:-1])
def test_nothing_imports_to_its_right(package: str) -> None:
    allowed = set(ORDER[: ORDER.index(package) + 1])
    for path in sorted((ROOT / package).rglob("*.py")):
        wrong = _imported_packages(path, package) - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}, which lie to its right"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edgec.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'onnx', 'sympy', 'onnxruntime', 'openvino', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
