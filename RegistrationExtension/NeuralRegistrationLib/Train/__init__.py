"""Training a network on images of one's own: the panel, its process, curves and data."""
