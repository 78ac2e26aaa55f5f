"""Space as ITK has it: LPS, millimeters, axes in x y z order. Knows nothing of registration."""
