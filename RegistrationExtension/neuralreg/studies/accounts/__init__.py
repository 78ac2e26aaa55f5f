"""What a study writes about itself."""
