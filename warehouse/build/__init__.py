"""Runs dbt with our hooks, and publishes the finished warehouse."""
