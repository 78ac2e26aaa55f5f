"""Several images of each side that are registered together, each pair a channel."""
