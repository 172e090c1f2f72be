"""What only a process of its own shows: exit statuses, what is imported, interruption, broken pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgec", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, **{**pipes, **options})  # type: ignore[call-overload]


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, env={**ENVIRONMENT, **environment})
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom edgec.cli import main\nstatus = main(['--help'])\n"
        "heavy = {'numpy', 'onnx', 'sympy', 'onnxruntime', 'openvino', 'torch', 'ml_dtypes', 'google.protobuf'}\n"
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_exit_statuses_and_streams(model: Path) -> None:
    status, out, err = run("inspect", model, "--json")
    assert status == 0 and json.loads(out)["ok"] and err == ""
    status, out, err = run("inspect", "absent.onnx", "--json")
    assert status == 2 and json.loads(out)["exit"] == 2 and err.startswith("error[")
    assert run("--version")[1].startswith("edgec ")
    assert run("nonsense")[0] == 2


def test_traceback_on_request(model: Path) -> None:
    assert "Traceback" not in run("inspect", "absent.onnx")[2]
    assert "Traceback" in run("inspect", "absent.onnx", EDGEC_TRACEBACK="1")[2]


def test_interruption_is_clean(model: Path, tmp_path: Path) -> None:
    (tmp_path / "slow_plugin.py").write_text("import time\nopen('started', 'w').close()\ntime.sleep(60)\n")
    process = start("optimize", model, "-o", tmp_path / "out.onnx", "--plugin", "slow_plugin", cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert not (tmp_path / "out.onnx").exists()


def test_a_closed_pipe_is_quiet() -> None:
    process = start("ops", stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process.stderr:
        err = process.stderr.read()
    assert process.wait(timeout=60) == 0 and err == ""


def test_defects_are_reported_without_a_traceback(model: Path, tmp_path: Path) -> None:
    plugin = "import edgec.inspection as i\nimport edgec.driver.listing as l\ndef boom(*a, **k): raise KeyError('x')\nl.table = boom\n"
    (tmp_path / "defect.py").write_text(plugin)
    process = start("ops", "--plugin", "defect", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 70 and "E0901" in err and "Traceback" not in err


def test_a_full_disk_is_a_diagnostic() -> None:
    with open("/dev/full", "w") as full:
        process = start("ops", "--json", stdout=full)
        assert process.stderr is not None
        with process.stderr:
            err = process.stderr.read()
    assert process.wait(timeout=60) == 2 and "E0804" in err and "No space left" in err and "Traceback" not in err
