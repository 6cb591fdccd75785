"""Everything a run needs around the method, one topic a file."""
