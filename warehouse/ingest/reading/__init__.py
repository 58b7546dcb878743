"""Files are read to their end, then split into records."""
