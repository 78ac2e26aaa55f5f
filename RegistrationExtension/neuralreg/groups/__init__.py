"""More than a pair: templates of a group, one person over time, sequences, several atlases."""
