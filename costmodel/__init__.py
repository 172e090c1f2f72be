"""Prices of operators and models: work, memory, latency and energy on described or measured targets."""
