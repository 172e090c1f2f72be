"""Prices of operators and models: work, memory."""
