"""Evaluates saved Core ML packages off the device, from their specification and weight files.

`PackageEvaluator` opens a package and runs one of its functions; `covered` names the operators that it knows. Evaluations follow the
documentation of the operators' iOS15 to iOS18 definitions. Where that leaves a result open, the evaluator stops with a `Diagnostic`
instead of choosing one. Arithmetic on 16-bit floats is done in float32 and rounded once per operator.
"""

from .package import Flexible, PackageEvaluator, PackageSignature
from .registry import covered

__all__ = ["Flexible", "PackageEvaluator", "PackageSignature", "covered"]
