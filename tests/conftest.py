"""One thread for each process under test: several of them on two cores would otherwise wait for each other."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
