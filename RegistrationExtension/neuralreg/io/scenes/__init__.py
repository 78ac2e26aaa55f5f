"""What a program with a scene knows beside the voxels that it hands over."""
