"""Everything a run needs around the method: flags, runs, reports, and the system below them."""
