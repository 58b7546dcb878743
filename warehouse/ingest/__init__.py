"""Raw files become landed batches, each whole or not at all."""
