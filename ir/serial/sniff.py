"""What a file is that is not an ONNX model, as far as its first bytes tell."""

from __future__ import annotations

_EXPORT = "export the model to ONNX, for example with edgec.from_torch"
_PREFIXES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer", "run `git lfs pull`"),
    (b"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint", _EXPORT),
    *((b"\x80" + bytes([protocol]), "a Python pickle", _EXPORT) for protocol in range(2, 6)),
    (b"\x89HDF", "an HDF5 file", "export the model to ONNX, for example with tf2onnx"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"GGUF", "a GGUF file", "export the model to ONNX from the framework that trained it"),
    (b"{", "JSON text", "name the .onnx file"),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")


def foreign_format(head: bytes) -> tuple[str, str] | None:
    """The kind of file that begins with these bytes and a remedy, or None when it may be a model.

    Args:
        head: the first 64 bytes or more.
    """
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page", "the download needs another address, or a login"
    if head[4:8] == b"TFL3":
        return "a TFLite model", "convert it to ONNX first, for example with tf2onnx"
    for prefix, kind, hint in _PREFIXES:
        if head.startswith(prefix):
            return kind, hint
    return None
