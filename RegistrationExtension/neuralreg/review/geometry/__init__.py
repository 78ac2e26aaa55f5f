"""Fields, their local deformation and their consistency, computed with NumPy and SimpleITK alone.

This package repeats, on purpose, what `neuralreg.geometry` does with PyTorch:

* A review runs where PyTorch is not installed: in a fresh 3D Slicer, or on a clinic's computer.
* It works slab by slab, so that a field of 256^3 vectors needs little memory.
* The judge shares no code with what it judges: a fault in the one does not hide in the other.

A parity test compares both packages on grids of every kind: `review/geometry/test_parity.py`.
Nothing here imports PyTorch.
"""
