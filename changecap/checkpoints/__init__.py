"""Weights on disk: our folders, and the authors' files brought into them."""
