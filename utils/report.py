"""``python -m utils.report RUN [RUN ...]``: lay runs side by side (utils/reports/report.py)."""

import sys

from utils.reports.report import main

if __name__ == "__main__":
    sys.exit(main())
