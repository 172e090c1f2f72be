"""Seeds of ONNX, which are floats, for runtimes that want integers."""

from __future__ import annotations

import numpy as np


def whole_seed(seed: float | None) -> int | None:
    """A number from 0 to 2^31 - 2 for a seed, other seeds others but for rare collisions; None without one.

    >>> whole_seed(None) is None, whole_seed(1.0) == whole_seed(1.0), whole_seed(1.0) == whole_seed(2.0)
    (True, True, False)
    """
    return None if seed is None else int(np.float32(seed).view(np.uint32)) % 0x7FFFFFFF
