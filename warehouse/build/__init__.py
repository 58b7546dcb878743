"""dbt run, hooked and published."""
