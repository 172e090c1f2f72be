"""The clock of cores, where the system lets it be set: Linux's cpufreq in sysfs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/devices/system/cpu")
LEAST_RATIO = 1.2  # between the greatest and the least clock, below which setting it is no use


class CoreClock:
    """The limits of the clock of some cores.

    Attributes:
        folders: of the cores' policies.
        low: the least clock that all have, Hz.
        high: the greatest.
    """

    def __init__(self, folders: Sequence[Path], low: float, high: float) -> None:
        self.folders, self.low, self.high = tuple(folders), low, high

    @contextmanager
    def limited(self, clock_hz: float) -> Iterator[None]:
        """Limit the clock while the block runs; the limits before are put back whatever happens."""
        before = [
            (folder / name, (folder / name).read_text()) for folder in self.folders for name in ("scaling_min_freq", "scaling_max_freq")
        ]
        khz = str(int(clock_hz / 1000))
        try:
            for folder in self.folders:
                least, most = folder / "scaling_min_freq", folder / "scaling_max_freq"
                if int(least.read_text()) > int(khz):
                    least.write_text(khz)
                most.write_text(khz)
            yield
        finally:
            for path, text in reversed(before):  # the upper limit first: the lower one may not exceed it
                path.write_text(text)


def core_clock(cores: Sequence[int], root: Path = ROOT) -> tuple[CoreClock | None, str]:
    """The clock of some cores, or None and why it cannot be set."""
    folders = [root / f"cpu{core}" / "cpufreq" for core in cores]
    if not folders or not all(folder.is_dir() for folder in folders):
        return None, "the system has no cpufreq for these cores"
    try:
        low = max(int((folder / "cpuinfo_min_freq").read_text()) for folder in folders) * 1e3
        high = min(int((folder / "scaling_max_freq").read_text()) for folder in folders) * 1e3
        for folder in folders:
            for name in ("scaling_min_freq", "scaling_max_freq"):
                path = folder / name
                path.write_text(path.read_text())
    except (OSError, ValueError) as error:
        return None, f"the system does not let the clock be set: {getattr(error, 'strerror', None) or error}"
    if high / low < LEAST_RATIO:
        return None, f"the clock has one step only, {high / 1e9:.3g} GHz"
    return CoreClock(folders, low, high), ""
