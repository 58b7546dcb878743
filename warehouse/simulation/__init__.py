"""Payments made up, with frauds and dirt."""
