"""Hardware targets as data: TOML files whose numbers carry unit, tag and source, and their reader."""
