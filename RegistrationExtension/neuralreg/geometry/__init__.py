"""Space, in ITK's convention: LPS, millimeters, axes in x y z order. Knows nothing of registration."""
