"""Simulated payments, with frauds and dirty rows."""
