"""From a row to a score and a threshold, by a bundle alone."""
