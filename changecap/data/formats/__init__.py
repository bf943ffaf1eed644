"""One file per format of data set: which files belong together."""
