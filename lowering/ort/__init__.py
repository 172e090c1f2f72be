"""The ONNX Runtime backend: the embedded default."""
