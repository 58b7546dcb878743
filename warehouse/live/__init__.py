"""What the API knows at this moment: payments, claims, decisions, labels and clients."""
