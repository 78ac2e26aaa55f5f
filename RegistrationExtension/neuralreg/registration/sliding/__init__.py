"""Two sides of a border that a deformation lets slide along each other."""
