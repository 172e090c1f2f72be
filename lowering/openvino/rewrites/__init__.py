"""Rewrites that turn what OpenVINO's importer refuses or computes wrongly into what it computes rightly.

Importing the package registers the rules (group ``openvino``) and the passes that apply them.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in sorted(m.name for m in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
