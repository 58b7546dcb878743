"""Feast's plug-ins: point in time by ASOF joins offline, one row an entity online."""
