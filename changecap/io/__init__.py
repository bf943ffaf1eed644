"""Files of others, read and written: images, rasters, JSON; whole or not at all."""
