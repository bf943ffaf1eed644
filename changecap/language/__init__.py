"""Words: vocabularies, and what a sentence about change claims."""
