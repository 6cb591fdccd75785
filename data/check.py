"""Decode every image of a prepared folder: ``python -m data.check DIR``. The code lies in ``data/prepare/check.py``."""

import sys

from data.prepare.check import main

if __name__ == "__main__":
    sys.exit(main())
