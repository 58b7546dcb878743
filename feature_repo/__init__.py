"""What features exist: Feast's definitions, built from dbt's manifest; no feature is named in Python."""

import warehouse  # noqa: F401 - before Feast: it lightens its import
