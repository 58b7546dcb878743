"""The data side of the product: settings, ingest, landing, live store, and the dbt and Feast plug-ins."""

from warehouse.feature_store import light_import

light_import.lighten()
