"""The process that computes, its queue of jobs, and work done in small steps."""
