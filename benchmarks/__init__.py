"""Programs that print the figures of this project; none is a test."""
