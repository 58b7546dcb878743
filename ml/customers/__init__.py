"""Segments of customers: found, named, written back."""
