"""Where accepted data lies."""
