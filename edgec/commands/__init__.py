"""The commands of the driver, grouped by subject.

`edgec.cli` imports every module here whose name does not begin with `_`, in sorted order, and calls its ``register(app)``, which adds
commands to the app. The modules import typer and nothing heavy; what a command does is in `edgec.driver`, imported when it runs.
"""
