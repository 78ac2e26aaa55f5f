"""What a registration needs in memory."""
