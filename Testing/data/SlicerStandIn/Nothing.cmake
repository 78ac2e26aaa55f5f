# Slicer writes its own package files here.
