"""The eight laws of the design, each in a file of its own name."""
