"""What surrounds a single review: worklists, decisions, records, repeated registrations."""
