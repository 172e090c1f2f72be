"""The main job on a real model: fetch, optimise, compile, verify, run.

Magika names the type of a file from its bytes. The script takes the trained model out of its package, writes an optimised ONNX file and an
ONNX Runtime bundle, checks the bundle layer by layer against the original on real files, and lets the bundle name those files.

    python examples/quickstart.py [OUTPUT_FOLDER]
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

import edgec
from edgec.ir.diagnostics import Diagnostic

ROOT = Path(__file__).resolve().parents[1]
LABELS = {".py": "python", ".md": "markdown", ".toml": "toml", ".h": "c", ".json": "json", ".html": "html"}
PIECE = 1024  # the model sees that many bytes of the beginning and of the end
PADDING = 256
BLOCK = 4096


def fetch(name: str) -> Path:
    """A file of the model zoo, downloaded on first use and checked by its hash."""
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "zoo.py"), "fetch", name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip() or done.stdout.strip())
    return Path(done.stdout.strip().splitlines()[-1].split()[-1])


def features(content: bytes) -> np.ndarray:
    """The bytes of a file as the model reads them: ``int32[2048]``, 256 where there is no byte."""
    head, tail = content[:BLOCK].lstrip()[:PIECE], content[-BLOCK:].rstrip()[-PIECE:]
    row = np.full(2 * PIECE, PADDING, np.int32)
    row[: len(head)] = np.frombuffer(head, np.uint8)
    row[2 * PIECE - len(tail) :] = np.frombuffer(tail, np.uint8)
    return row


def samples(limit: int = 64) -> list[tuple[Path, str]]:
    """Files of this repository and of the Python installation, with the label that their name promises."""
    folders = (ROOT, Path(sysconfig.get_paths()["stdlib"]), Path(sysconfig.get_paths()["include"]))
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*.*") if p.suffix in LABELS and p.is_file()):
            if any(part.startswith(".") or part == "site-packages" for part in path.relative_to(folder).parts):
                continue
            if len(paths := found.setdefault(path.suffix, [])) < limit // 4 and path.stat().st_size >= 600:
                paths.append(path)
    return [(path, LABELS[path.suffix]) for paths in found.values() for path in paths][:limit]


def main(output: Path) -> int:
    """Run the whole story; the exit status is that of the verification gate."""
    model_path = fetch("magika")
    labels = json.loads(fetch("magika_config").read_text())["target_labels_space"]

    original = edgec.load(model_path)
    optimised = edgec.optimize(original)
    output.mkdir(parents=True, exist_ok=True)
    optimised.save(output / "magika.onnx")
    count = [sum(1 for _ in m.graph.walk()) for m in (original, optimised)]
    print(f"optimised   {model_path.name}: {count[0]} -> {count[1]} nodes, written to {output / 'magika.onnx'}")

    bundle = edgec.compile(model_path, target="ort", output=output / "magika-ort")
    print(f"compiled    {output / 'magika-ort'} for {bundle.manifest['target']}")

    files = samples()
    feeds = [{"bytes": features(path.read_bytes())[None]} for path, _ in files]
    report = edgec.verify(model_path, bundle, feeds[:8])
    worst = max(output.error.worst for output in report.outputs)
    print(f"verified    {'passed' if report.passed else 'FAILED'}: largest relative error of an output {worst:.1e}")

    named = [labels[int(next(iter(bundle.run(f).values()))[0].argmax())] for f in feeds]
    hits = sum(label == name for (_, label), name in zip(files, named, strict=True))
    print(f"ran         {hits} of {len(files)} files named as their extension says, for example:")
    for (path, _), name in list(zip(files, named, strict=True))[:: max(1, len(files) // 5)]:
        print(f"            {path.name:28s} {name}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/quickstart")))
    except Diagnostic as error:
        sys.exit(str(error))
