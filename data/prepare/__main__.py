"""Turn an unpacked official download into train/ and val/: ``python -m data.prepare NAME --source DIR --out DIR``."""

import sys

from data.prepare.command import main

if __name__ == "__main__":
    sys.exit(main())
