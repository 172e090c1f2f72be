"""onnx2tf on every real model, for comparison: its .tflite files go to the cache, beside what it said.

onnx2tf lives in an environment of its own (it needs Python 3.12):

    python3.12 -m venv /tmp/onnx2tf && /tmp/onnx2tf/bin/pip install onnx2tf==2.6.* ai-edge-litert psutil
    python benchmarks/peers_onnx2tf.py --tool /tmp/onnx2tf/bin/onnx2tf

It works on copies, since the tool overwrites its input; their input shapes are fixed to those of the sample inputs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peers  # noqa: E402
import zoo  # noqa: E402

LARGEST = 480 << 20
TIME_LIMIT_S = 600


def folder() -> Path:
    """Where the converted models lie."""
    return zoo.cache() / "peers" / "onnx2tf"


def convert(tool: Path, source: Path, feeds_file: Path, target: Path) -> dict[str, Any]:
    """Convert one model.

    Returns:
        `ok`, the `seconds` it took, and the end of what the tool printed when it failed.
    """
    import numpy as np
    import onnx

    with np.load(feeds_file) as archive:
        shapes = {name: archive[name].shape for name in archive.files}
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "model.onnx"
        model = onnx.load(str(source))
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, shapes.get(value.name, ()), strict=False):
                dim.dim_value = size
        del model.graph.value_info[:]
        onnx.save(model, str(copy))
        command = [str(tool), "-i", str(copy), "-o", f"{work}/out", "-n"]
        began = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            return {"ok": False, "why": f"took more than {TIME_LIMIT_S} s"}
        seconds = round(time.perf_counter() - began, 1)
        found = sorted(Path(work).glob("out/*float32.tflite"))
        if not found:
            lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            return {"ok": False, "seconds": seconds, "why": lines[-1][:300] if lines else f"exit {done.returncode}"}
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found[0], target)
    return {"ok": True, "seconds": seconds}


def main() -> int:
    """Convert what is not converted yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--tool", type=Path, required=True, help="the onnx2tf command")
    options = parser.parse_args()
    available = peers.models()
    for name in options.models or sorted(available):
        source, feeds = available[name]
        record = folder() / f"{name}.json"
        if source.stat().st_size > LARGEST or record.exists():
            continue
        result = convert(options.tool, source, feeds, folder() / f"{name}.tflite")
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(result), encoding="utf-8")
        print(f"{name}: {json.dumps(result)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
