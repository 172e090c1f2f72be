"""Streams memory on one core between two lines of standard input, until that ends: `pressure` runs this file as a process of its own.

    python -P streamer.py BYTES CORE

It imports nothing of edgec, so that it starts quickly. Every line on standard input is answered by one on standard output: the first when
it has its memory, then "go" when it begins and "stop" when it has stopped. The end of the input, as when its parent dies, ends it.
"""

from __future__ import annotations

import os
import select
import sys

PIECE = 1 << 20  # numbers that are copied at a time, between two looks at the input


def main(size: int, core: int) -> None:
    """Stream arrays of so many bytes in all on a core."""
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    half = max(size // 16, PIECE)
    source, target = np.ones(half), np.ones(half)
    print("ready", flush=True)
    while sys.stdin.readline():
        print("go", flush=True)
        start = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            np.copyto(target[start : start + PIECE], source[start : start + PIECE])
            start = start + PIECE if start + PIECE < half else 0
        if not sys.stdin.readline():
            return
        print("stop", flush=True)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
