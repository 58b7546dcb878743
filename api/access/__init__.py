"""Who may ask, and how a request may reach us."""
