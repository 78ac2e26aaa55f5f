"""What a review writes: HTML, PDF, CSV, JSON, pictures of slices, and maps."""
