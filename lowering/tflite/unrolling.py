"""Which loops are written out for LiteRT.

XNNPACK packs the constants of every node into an order of its own and keeps the copies: forty steps of an LSTM of 512 units hold 160 MB
instead of 4, and read them from memory in every inference. Inside of a WHILE there is one copy; an iteration of one costs about 6 µs
more. Measured on x86 with 20 steps: 256 units 0.51 instead of 0.75 ms, 512 units 1.7 instead of 3.5 ms; 128 units 0.21 instead of 0.12 ms.
"""

from __future__ import annotations

from dataclasses import replace

from ...passes.decompose.recurrent_steps import HEAVY_LAYER, HEAVY_STEP
from ...passes.pipeline_text import format_pipeline
from ..loops import UNROLLED

SPARING = replace(UNROLLED, heavy_iteration=HEAVY_STEP, heavy_loop=HEAVY_LAYER)
UNROLL = format_pipeline([SPARING])
"""The pass in pipeline text."""
