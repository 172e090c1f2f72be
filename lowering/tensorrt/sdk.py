"""The installed TensorRT: ``tensorrt`` when it imports, else ``tensorrt_rtx``; both have the same classes."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from ...ir.diagnostics import Diagnostic
from ..backend import E_NOT_INSTALLED

MODULES = ("tensorrt", "tensorrt_rtx")
HINT = "pip install 'edgec[tensorrt]'"
_KEPT_MESSAGES = 200


@dataclass(frozen=True)
class Sdk:
    """One TensorRT library, loaded.

    Attributes:
        trt: the Python module.
        name: the module's name.
        version: the library's version.
        logger: an ``ILogger``; it lives as long as the process.
        messages: what the library logged as an error since `forget_messages`.
        lock: held while parser or builder work: they share one log.
    """

    trt: Any
    name: str
    version: str
    logger: Any
    messages: deque[str]
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def ahead_of_time(self) -> tuple[str, ...]:
        """The compute capabilities for which engines are built without their GPU; empty for full TensorRT, which needs the GPU."""
        enum = getattr(self.trt, "ComputeCapability", None)
        if enum is None:
            return ()
        return tuple(sorted((name for name in dir(enum) if name.startswith("SM")), key=lambda name: int(name[2:])))

    def create_network(self) -> tuple[Any, Any]:
        """A builder and an empty network whose element types are those of its tensors.

        Since TensorRT 11 every network is of that kind; older libraries are told by a flag. The builder is a new one: a builder that
        has made an engine before makes the next one with another byte in it.
        """
        builder = self.trt.Builder(self.logger)
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder, builder.create_network(0 if flag is None else 1 << int(flag))

    def forget_messages(self) -> None:
        """Empty the log."""
        self.messages.clear()


def missing() -> str | None:
    """None when a TensorRT is installed and starts, else why not."""
    try:
        load()
    except Diagnostic as error:
        return error.message
    return None


@cache
def load() -> Sdk:
    """The installed TensorRT.

    Raises:
        Diagnostic: E0503 when neither module is installed, or the library does not start.
    """
    reasons = []
    for name in MODULES:
        try:
            trt = import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name} does not import ({error})")
            continue
        try:
            messages: deque[str] = deque(maxlen=_KEPT_MESSAGES)
            logger = _logger(trt, messages)
            trt.Builder(logger)
            return Sdk(trt, name, str(trt.__version__), logger, messages)
        except Exception as error:  # the binding raises types of its own
            reasons.append(f"{name} does not start ({error})")
    raise Diagnostic(E_NOT_INSTALLED, "target 'tensorrt' cannot be used: " + "; ".join(reasons), hint=HINT)


def _logger(trt: Any, messages: deque[str]) -> Any:
    class Log(trt.ILogger):
        """Keeps errors; everything else is silent."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                messages.append(message)

    return Log()
