"""What steers a registration beside its images: landmarks that a person has placed on both."""
