"""Files of points that go through transforms: landmarks, meshes, streamlines."""
