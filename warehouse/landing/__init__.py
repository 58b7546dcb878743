"""Where accepted data lies: batches of payments and labels, and segments of customers."""
