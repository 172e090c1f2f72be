"""The OpenVINO backend: typed ONNX through OpenVINO's importer, saved as OpenVINO IR."""
