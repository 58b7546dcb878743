"""Which payments train and test, with the labels known then, and their features."""
