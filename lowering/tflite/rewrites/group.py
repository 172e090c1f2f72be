"""The name under which the rules of this package are registered."""

GROUP = "tflite"
