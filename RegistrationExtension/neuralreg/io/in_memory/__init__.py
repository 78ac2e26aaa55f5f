"""Images that other programs hold in memory, and what is known of their files."""
