"""Fields, their local deformation and their consistency, computed with NumPy and SimpleITK alone.

A review runs in a Slicer without PyTorch and in slabs of large fields, and the judge shares no code
with what it judges. A test compares these functions with those of `neuralreg.geometry`.
"""
