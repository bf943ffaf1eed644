"""One step, one loop, for every captioner."""
