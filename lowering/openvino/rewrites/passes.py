"""The passes that apply OpenVINO's rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....passes.driver import RulePass
from .functions import GROUP


@dataclass(frozen=True)
class OpenVinoRewrites(RulePass):
    """Take apart or respell what OpenVINO's importer refuses or computes wrongly."""

    name: ClassVar[str] = "openvino-rewrites"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)
