"""Compares what decisions used with a slow oracle and with dbt."""
