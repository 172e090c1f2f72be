"""Plugins: an installed package, modules and files named on the command line, and what goes wrong with them."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.diagnostics import Diagnostic
from edgec.passes import plugins
from edgec.passes.plugins import load_plugin

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "examples" / "plugin_package"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which pip has installed the example package."""
    source = tmp_path_factory.mktemp("source") / "plugin_package"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(target)]
    builds_here = _setuptools() >= 77
    if builds_here:
        command.append("--no-build-isolation")
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and not builds_here and "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("setuptools>=77 is not installed here and the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return target


def _setuptools() -> int:
    try:
        return int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        return 0


def run(*arguments: object, path: Path | None = None, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run the driver in a process of its own; ``path`` is where installed packages lie."""
    places = [str(p) for p in (ROOT, path) if p is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "edgec", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def spelled_out(path: Path) -> None:
    """x · sigmoid(alpha · x), once with one alpha and once with one for each channel."""
    alphas = np.linspace(0.5, 2, 4).astype(np.float32)
    constants = [numpy_helper.from_array(np.float32(1.5), "one"), numpy_helper.from_array(alphas, "each")]
    nodes = []
    for index, (source, alpha) in enumerate((("x", "one"), ("y0", "each"))):
        nodes += [
            helper.make_node("Mul", [source, alpha], [f"a{index}"], name=f"scale{index}"),
            helper.make_node("Sigmoid", [f"a{index}"], [f"s{index}"], name=f"gate{index}"),
            helper.make_node("Mul", [source, f"s{index}"], [f"y{index}"], name=f"apply{index}"),
        ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y1")]
    graph = helper.make_graph(nodes, "spelled", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_an_installed_package_adds_to_every_list(site) -> None:
    def listed(key: str, *command: str) -> dict[str, dict]:
        status, out, err = run(*command, "--json", path=site)
        assert (status, err) == (0, "")
        return {item["name"]: item for item in json.loads(out)[key]}

    assert listed("passes", "passes")["fuse-swoosh"]["module"] == "edgec_swoosh.fuse"
    rules = listed("rules", "passes", "--rules")
    assert rules["spelled-out-swoosh"]["module"] == "edgec_swoosh.fuse"
    assert rules["decompose-com.example.Swoosh"]["module"] == "edgec_swoosh.operator"
    swoosh = listed("ops", "ops", "com.example.Swoosh")["Swoosh"]
    assert swoosh["attributes"] == {"alpha": 1.0} and swoosh["routes"]["possible"] == ["keep", "decompose", "python"]
    status, out, _ = run("passes", path=site)
    assert status == 0 and any(line.startswith("fuse-swoosh") and line.endswith("edgec_swoosh.fuse") for line in out.splitlines())
    status, out, _ = run("passes", "--json")
    assert "fuse-swoosh" not in out  # not without the package


def test_the_package_works_end_to_end(site, tmp_path) -> None:
    model, fused, plain = tmp_path / "m.onnx", tmp_path / "fused.onnx", tmp_path / "plain.onnx"
    spelled_out(model)
    status, out, err = run("explain-rule", "spelled-out-swoosh", model, "--json", path=site)
    facts = json.loads(out)
    assert status == 0, err
    assert [f["root"] for f in facts["matches"]] == ["node 'apply0' (Mul)"]
    assert facts["declines"][0]["reason"] == "alpha differs between elements" and "scale1" in facts["declines"][0]["culprit"]

    status, out, err = run("optimize", model, "-o", fused, "--passes", "fuse-swoosh", "--check-each-pass", "--json", path=site)
    assert status == 0, err
    assert json.loads(out)["operators"]["after"] == {"Mul": 2, "Sigmoid": 1, "com.example.Swoosh": 1}
    assert {o.domain: o.version for o in onnx.load(fused).opset_import}["com.example"] == 1

    status, out, err = run("verify", model, fused, "--json", path=site)
    report = json.loads(out)
    assert status == 0 and report["passed"] and any("com.example.Swoosh" in note for note in report["notes"])

    status, out, err = run("optimize", fused, "-o", plain, "--passes", "decompose-custom", path=site)
    assert status == 0 and {n.op_type for n in onnx.load(plain).graph.node} == {"Mul", "Sigmoid"}

    status, _, err = run("compile", fused, "-o", tmp_path / "b")  # without the package nobody knows the operator
    assert status == 3 and "com.example.Swoosh" in err
    assert all(word in err for word in ("--custom-op-library", "--op-route com.example.Swoosh=decompose", "Python"))
    status, _, err = run("compile", fused, "-o", tmp_path / "b", path=site)
    assert status == 0, err


def test_a_broken_package_is_named(site, tmp_path) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "edgec_swoosh" / "__init__.py").write_text("import a_module_that_nobody_has\n")
    status, _, err = run("passes", path=broken)
    assert status == 2 and "E0406" in err and "package edgec-swoosh, module edgec_swoosh" in err and "a_module_that_nobody_has" in err


def test_two_packages_with_one_plugin_name(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("mine", module, plugins.GROUP) for module in ("string", "textwrap")]
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.raises(Diagnostic, match="'mine': the modules string and textwrap"):
        plugins.load_plugins()


FAULTS = {
    "syntax": ("def broken(:\n", "SyntaxError"),
    "missing": ("import a_module_that_nobody_has\n", "a_module_that_nobody_has"),
    "raises": ("x = 1\nraise RuntimeError('half way')\n", "half way"),
    "exits": ("import sys\nsys.exit(5)\n", "SystemExit"),
    "same_pass": (
        "from edgec.passes.base import Pass\nclass Mine(Pass):\n    name = 'dead-code'\n    def run(self, graph, context): ...\n",
        "pass 'dead-code' is registered twice: by edgec.passes.dead_code and by",
    ),
    "same_rule": (
        "from edgec.ir.ops.unary import Identity\nfrom edgec.passes.rewriter import rewrites_op\n"
        "rewrites_op(Identity, name='remove-identity')(lambda node, b: None)\n",
        "rule 'remove-identity' is registered twice: by edgec.passes.remove_no_ops and by",
    ),
    "same_op": (
        "from dataclasses import dataclass\nfrom edgec.ir.op import Op\n@dataclass(frozen=True)\nclass Conv(Op):\n    pass\n",
        "registered twice: by edgec.ir.ops.conv and by",
    ),
    "bad_route": ("import edgec\nedgec.register_op('com.acme.Foo', route='decompose')\n", "no decomposition is registered for it"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_name_the_module(kind, tmp_path, monkeypatch) -> None:
    text, expected = FAULTS[kind]
    name = f"faulty_{kind}_plugin"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for given in (name, f"./{name}.py"):
        with pytest.raises(Diagnostic) as caught:
            load_plugin(given)
        error = caught.value
        assert error.code == "E0406" and name in error.message and name in error.where and error.hint
        assert expected in str(error)
        assert name not in sys.modules
    if kind == "raises":
        assert "line 2" in error.notes[0]


def test_unknown_plugins(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Diagnostic, match="there is no module 'nowhere'") as caught:
        load_plugin("nowhere.inside")
    assert "path of a .py file" in caught.value.hint
    with pytest.raises(Diagnostic, match="the plugin does not exist"):
        load_plugin("nowhere.py")
    (tmp_path / "json.py").write_text("")
    with pytest.raises(Diagnostic, match="another module has the name 'json'"):
        load_plugin(str(tmp_path / "json.py"))


def test_a_file_is_imported_once(tmp_path) -> None:
    path = tmp_path / "counting_plugin.py"
    path.write_text("loads = globals().get('loads', 0) + 1\n")
    try:
        assert load_plugin(str(path)) is load_plugin(str(path))
    finally:
        sys.modules.pop("counting_plugin", None)
