"""How the values of image files are stored: packed or raw, and how many bytes there are."""
