"""A process that computes for others: it reads jobs and answers with results, all as JSON lines."""
