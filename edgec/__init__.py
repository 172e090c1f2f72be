"""edgec: one trained model in, verified and fast artifacts for every edge target out."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Model": "ir.model",
    "Diagnostic": "ir.diagnostics",
    "load": "api",
    "optimize": "api",
    "compile": "api",
    "compile_all": "api",
    "load_bundle": "api",
    "verify": "api",
    "from_torch": "torch_import",
    "register_op": "passes.custom_ops",
}

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import edgec` stays instant."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'edgec' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
