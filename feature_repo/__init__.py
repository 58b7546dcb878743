"""What features exist: Feast's definitions, built from dbt's manifest; no feature is named in Python."""
