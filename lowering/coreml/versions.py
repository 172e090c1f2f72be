"""The deployment targets of ML programs: each brings operators that older systems lack."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Release(IntEnum):
    """A minimum deployment target; greater ones admit more operators. The value is the iOS version."""

    IOS15 = 15
    IOS16 = 16
    IOS17 = 17
    IOS18 = 18

    @property
    def text(self) -> str:
        """The name that coremltools and Xcode use: ``iOS17``."""
        return f"iOS{self.value}"

    @property
    def native(self) -> Any:
        """The target as coremltools knows it."""
        import coremltools

        return getattr(coremltools.target, self.text)

    @staticmethod
    def of(text: str) -> Release:
        """The release with this name; KeyError when there is none."""
        return RELEASES[text]


RELEASES = {release.text: release for release in Release}
NEWEST = Release.IOS18
