"""Jobs on files: what the command line, a study and another process register."""
