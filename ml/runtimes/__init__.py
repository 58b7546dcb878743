"""Models as plain data: loaded from bytes, a row scores the same bits alone or in a batch."""
