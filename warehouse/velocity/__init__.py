"""Windows over history, computed by compiled loops."""
