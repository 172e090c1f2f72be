"""The runtime: bundles, data sets, sessions and the comparison of models."""
