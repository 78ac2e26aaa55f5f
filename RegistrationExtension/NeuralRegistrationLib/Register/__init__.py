"""The tab Register, and what it asks of the engine."""
