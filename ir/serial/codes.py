"""Diagnostic codes of the reader and the writer."""

from ..diagnostics import code

E_NOT_FOUND = code("E0301", "the file cannot be opened", "The path does not exist, is a folder, or may not be read.")
E_NOT_ONNX = code(
    "E0302",
    "the file is not an ONNX model",
    "The bytes do not decode as an ONNX ModelProto: the file is truncated, damaged, or something else (a Git LFS pointer, an HTML "
    "error page, a PyTorch checkpoint).",
)
E_EXTERNAL = code(
    "E0303",
    "external data is missing, too short, or outside the model's folder",
    "A model is untrusted data: external tensors must lie inside the folder of the model, reached without `..`, absolute paths or "
    "symbolic links that leave it, and their byte ranges must lie inside the named file.",
)
E_TENSOR = code(
    "E0304",
    "a tensor's data does not match its shape and type",
    "The declared dimensions are negative or absurd, or the number of bytes stored differs from what shape and type need.",
)
E_NAMES = code(
    "E0305",
    "names are not unique or not defined",
    "ONNX requires every value to be defined exactly once and before use. A value that is defined twice makes the model ambiguous; "
    "one exporter bug gives an output the name of an inner value.",
)
E_CYCLE = code(
    "E0306",
    "the graph has a cycle",
    "Some nodes depend on their own results, so that no execution order exists.",
)
E_OPSET = code(
    "E0307",
    "the opset is not supported",
    "The model imports an operator set that is newer than this version knows, or misses the import of a domain it uses.",
)
E_EXPORT = code(
    "E0308",
    "the graph cannot be expressed at the requested opset",
    "An operator entered ONNX after the requested opset and nothing replaced it by older operators. Ask for a newer --opset, or run the "
    "`legalize` pass, which decomposes what has a decomposition.",
)
E_WRITE = code(
    "E0309",
    "the output cannot be written",
    "Writing failed (disk full, no permission, not a folder). Nothing was left half-written: files appear under their final name only "
    "when they are complete.",
)
E_TOO_LARGE = code(
    "E0310",
    "the model does not fit the format",
    "A protobuf file cannot exceed 2 GB: write the weights as external data. Dimensions cannot exceed 63 bits, and local functions must "
    "not expand to millions of nodes.",
)
E_NODE = code(
    "E0312",
    "a node cannot be read",
    "The rules of an operator failed on this node in a way they did not foresee. Most often the node is invalid in the file; if other "
    "runtimes take the model, please report it.",
)
E_TYPE = code(
    "E0311",
    "a declared type is not supported or contradicts what inference finds",
    "Sparse and map types are not part of the IR; an entry whose element type contradicts the operator's result would mislead every "
    "later step.",
)
