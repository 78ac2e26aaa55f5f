"""What tests, demo and benchmarks share: made images, paths, servers, networks of their authors."""
