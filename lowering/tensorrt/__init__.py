"""Lowering to TensorRT: strongly typed ONNX, profiles, and engines built ahead of time."""
