"""Measured times per operator, joined to the nodes of the model."""
