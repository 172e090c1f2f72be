"""Diagnostic codes of the TensorRT backend."""

from __future__ import annotations

from ...ir.diagnostics import Exit, code

E_NO_GPU = code(
    "E0551",
    "the engine needs a GPU",
    "The engine was built, but running it needs an NVIDIA GPU of one of its compute capabilities with its driver. Copy the bundle to "
    "such a machine, or open it with the option reference=true, which runs the strongly typed ONNX model that the engine was built "
    "from in ONNX Runtime: that judges the lowering, not the engine.",
    Exit.TARGET_REFUSED,
)
E_BUILD = code(
    "E0552",
    "TensorRT does not build the engine",
    "TensorRT's parser took every node of the model, but its builder refused the network. The notes hold its own words.",
    Exit.TARGET_REFUSED,
)
E_CUDA = code(
    "E0553",
    "the GPU or its driver failed",
    "A call of the CUDA driver failed while the engine ran. The message holds the driver's own code: often too little memory.",
)
E_HOLD = code(
    "E0554",
    "the engine's element types cannot hold the values",
    "TensorRT has no float64 and no uint64: such inputs travel as float32 and int64. Values beyond their range are refused.",
)
E_TRACE = code(
    "E0561",
    "the trace of shapes is of no use",
    "A trace is a JSON-lines file, each line an object with the shape of every input (or the sizes of the symbolic dimensions), or a "
    "data set: a folder or .npz with input arrays.",
)
