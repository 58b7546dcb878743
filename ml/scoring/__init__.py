"""From a row to a score, its reasons and a decision, by a bundle alone."""
