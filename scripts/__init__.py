"""Scripts that keep the repository in order; run them through the Makefile."""
