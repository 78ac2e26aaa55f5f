"""A run: its loop, checkpoints, schedule, validation, logs, and processes."""
