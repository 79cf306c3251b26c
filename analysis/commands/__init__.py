"""The verbs of the command line: plain functions, so that `kdsweep` mounts the same ones as `python -m analysis`."""
