"""The commands that prepare data sets from official downloads and check prepared folders; loading needs none of it."""
