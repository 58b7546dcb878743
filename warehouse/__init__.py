"""The data side of the product: settings, ingest, landing, live store, and the dbt and Feast plug-ins."""

from warehouse import feast_import

feast_import.lighten()
