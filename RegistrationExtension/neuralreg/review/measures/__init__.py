"""How well two images, segmentations or lists of landmarks agree, one measure per file."""
