"""The commands of the driver, grouped by subject; `edgec.cli` collects them."""
