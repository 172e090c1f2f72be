"""Lowering to TFLite (LiteRT): a flatbuffer emitted directly from the IR."""
