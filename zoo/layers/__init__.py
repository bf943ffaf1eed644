"""What two papers share exactly: backbone, attention, positions, the word decoder."""
