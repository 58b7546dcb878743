"""What the API knows at this moment."""
