"""The command that prepares data sets from official downloads; loading needs none of it."""
