"""What decisions used, beside a slow oracle and beside dbt."""
