"""One translation to MIL per operator."""
