"""Evaluation of saved MIL programs operator by operator in numpy."""
