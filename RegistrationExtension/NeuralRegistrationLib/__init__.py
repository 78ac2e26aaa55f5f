"""The Slicer side of Neural Registration: everything that knows MRML.

Nothing here is imported before it is needed: Slicer opens the module file at its start.
"""
