"""``python -m edgec``."""

import sys

from .cli import main

sys.exit(main())
