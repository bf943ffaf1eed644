"""What sentences are worth: score card, baselines, comparison, parity."""
