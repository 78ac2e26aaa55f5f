"""What a study consists of: rows of a table, checked before anything is computed."""
