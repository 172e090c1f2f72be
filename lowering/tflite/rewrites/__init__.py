"""Rewrites that bring a graph into the forms that LiteRT has kernels for.

Importing the package registers the rules (group ``tflite``) and the pass that applies them.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in sorted(m.name for m in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
