"""One thread for every test: several test processes share the cores, and torch's own threads would fight over them."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
