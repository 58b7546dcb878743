"""Who may call the API, and how a request may reach it."""
