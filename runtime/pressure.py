"""Background traffic that keeps the memory busy while other cores work, and cores for both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STREAMER = Path(__file__).with_name("streamer.py")
CORES = Path("/sys/devices/system/cpu")
MOST = 8  # cores that stream; few saturate a memory


@dataclass(frozen=True)
class Placement:
    """Which core does what.

    Attributes:
        work: for what is examined; empty where threads cannot be bound to cores.
        press: for background traffic; empty when there are none.
        reason: why there are none.
    """

    work: tuple[int, ...]
    press: tuple[int, ...]
    reason: str = ""


def allowed_cores() -> tuple[int, ...]:
    """The cores that this process may use; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def place(threads: int, cores: Sequence[int] | None = None, root: Path = CORES) -> Placement:
    """Cores for work of so many threads, and others, on other physical cores, for background traffic.

    Args:
        threads: of the work.
        cores: that may be used; those that this process may use when None.
        root: where the system describes its cores.
    """
    allowed = tuple(allowed_cores() if cores is None else cores)
    if not allowed:
        return Placement((), (), "this system does not bind threads to cores")
    physical: dict[int, frozenset[int]] = {core: siblings(core, root) for core in allowed}
    work: list[int] = []
    for core in allowed:  # one thread a physical core first
        if len(work) < threads and not any(core in physical[other] for other in work):
            work.append(core)
    work += [core for core in allowed if core not in work][: max(threads - len(work), 0)]
    rest = [core for core in allowed if core not in work]
    press = [core for core in rest if not any(core in physical[other] for other in work)]
    if press:
        return Placement(tuple(work), tuple(press[:MOST]))
    if len(allowed) == 1:
        return Placement(tuple(work), (), "there is one core, and nothing else can use the memory while it works")
    if rest:
        return Placement(tuple(work), (), "every other core is another thread of a core that works")
    return Placement(tuple(work), (), f"{threads} threads take all {len(allowed)} cores, and none is left to use the memory")


def siblings(core: int, root: Path = CORES) -> frozenset[int]:
    """The logical cores that share a physical one with this, itself included."""
    try:
        text = (root / f"cpu{core}" / "topology" / "thread_siblings_list").read_text().strip()
        return frozenset(parse_cores(text)) | {core}
    except (OSError, ValueError):
        return frozenset((core,))


def parse_cores(text: str) -> list[int]:
    """Cores as the system lists them.

    >>> parse_cores("0-2,8")
    [0, 1, 2, 8]
    """
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@contextmanager
def bound_to(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and threads that it starts, on some cores while the block runs; nothing where that is not possible."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def single_threaded() -> dict[str, str]:
    """The environment of a process whose numeric libraries start no threads, which would spin on other cores for a while."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Pressure:
    """Processes that stream memory, one a core, while `on` holds; a context that ends them."""

    def __init__(self, cores: Sequence[int], size: int) -> None:
        """Start them; they wait.

        Args:
            cores: one process on each.
            size: bytes that each streams; several times the last cache.

        Raises:
            OSError: one of them could not start.
        """
        self.processes: list[subprocess.Popen[str]] = []
        try:
            for core in cores:
                command = [sys.executable, "-P", str(STREAMER), str(size), str(core)]
                pipe = subprocess.PIPE
                process = subprocess.Popen(
                    command, text=True, start_new_session=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=single_threaded()
                )
                self.processes.append(process)
            for process in self.processes:
                self._expect(process, "ready")
        except BaseException:
            self.close()
            raise

    def on(self) -> None:
        """Let them stream."""
        self._tell("go")

    def off(self) -> None:
        """Let them wait."""
        self._tell("stop")

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self.processes = []

    def __enter__(self) -> Pressure:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tell(self, word: str) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
        for process in self.processes:
            self._expect(process, word)

    @staticmethod
    def _expect(process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout is not None
        if process.stdout.readline().strip() != word:
            raise OSError(f"a background process ended with status {process.poll()}")
