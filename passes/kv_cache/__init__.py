"""Key-value caches that grow become buffers of a fixed length.

A decoder exported with a cache takes the keys and values of ``past`` positions and returns those of ``past + sequence``. Targets that
compile for fixed sizes need a buffer that stays: `fix.FixKvCache` makes one. `pairs` finds the inputs and outputs that belong together,
`lanes` proves which tensors only get longer along the positions, `terms` computes sizes and positions at run time.
"""

from . import fix

__all__ = ["fix"]
