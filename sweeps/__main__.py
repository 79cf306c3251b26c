"""`python -m sweeps`: the same as `kdsweep`."""

from sweeps.cli import main

if __name__ == "__main__":
    main()
