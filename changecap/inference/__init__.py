"""From a pair to a sentence: the captioner, the word loop, many pairs of files."""
