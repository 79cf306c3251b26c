"""One file a data set: INFO, and load()."""
