"""Fitting the cost model to measurements of single operators."""
