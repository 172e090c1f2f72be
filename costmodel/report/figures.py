"""Numbers as people read them."""

from __future__ import annotations

import math

_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def figure(value: float, unit: str) -> str:
    """Three significant digits with an SI prefix.

    >>> figure(0.0056851, "s"), figure(13951272, "B"), figure(0, "J"), figure(999.96, "B"), figure(12, "B")
    ('5.69 ms', '14 MB', '0 J', '1 kB', '12 B')
    """
    if not value or not math.isfinite(value):
        return f"0 {unit}" if not value else f"∞ {unit}"
    value = float(f"{value:.3g}")
    size, prefix = next((step for step in _STEPS if abs(value) >= step[0]), _STEPS[-1])
    return f"{float(f'{value / size:.3g}'):g} {prefix}{unit}"


def share(value: float) -> str:
    """A share in per cent.

    >>> share(0.4321), share(0.004), share(0.00002)
    ('43 %', '0.4 %', '<0.1 %')
    """
    percent = 100.0 * value
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 1 else f"{percent:.0f} %"
