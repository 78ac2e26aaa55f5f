"""Training of networks that describe images for the search, from random shapes."""
