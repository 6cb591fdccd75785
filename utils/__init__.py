"""Everything a run needs around the method: flags, training, runs, reports, and the system below them."""
