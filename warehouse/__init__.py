"""The data side of the product: settings, ingest, landing, live store, and the dbt and Feast plug-ins."""
