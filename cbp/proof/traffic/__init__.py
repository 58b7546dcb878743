"""What a replay sends, in which order, to which server."""
