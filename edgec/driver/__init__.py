"""The driver: what stands behind the commands of `edgec`."""
