"""The sealed, chained log of decisions."""
