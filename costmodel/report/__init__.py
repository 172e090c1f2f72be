"""The cost report as one self-contained HTML page."""
