"""What all pages of edgec share: the frame of one file of HTML, its colours in light and dark, and data inside of it."""

from __future__ import annotations

import json
from html import escape
from typing import Any

TOKENS = """
:root { color-scheme: light dark; --line: #d0d5dd; --soft: #f5f6f8; --text: #1a1d23; --back: #ffffff; --dim: #5b6472; }
@media (prefers-color-scheme: dark) { :root { --line: #3a404b; --soft: #1d2128; --text: #e8eaee; --back: #14171c; --dim: #a2abb9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
"""


def html_page(title: str, style: str, body: str, script: str) -> str:
    """One file of HTML that needs no other.

    Args:
        title: plain text.
        style: what the page adds to `TOKENS`.
        body: HTML.
        script: without the end tag of a script in it; `embedded` writes data that way.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{TOKENS}{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def embedded(data: Any) -> str:
    """Plain data as JSON that may stand inside of a script: no text in it can end the script or begin a comment.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
