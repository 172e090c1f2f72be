"""Rewrites that bring a graph into the forms that LiteRT has kernels for."""
