"""Hardware targets as data: one TOML file each, and their strict reader."""

from .reader import load_target, target_names

__all__ = ["load_target", "target_names"]
