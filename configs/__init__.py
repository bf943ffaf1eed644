"""Faces of the verbs: keys, defaults and, in the comments, their help."""
