"""May this deformation be used? Numbers, limits, places, decisions and reports; without torch."""
