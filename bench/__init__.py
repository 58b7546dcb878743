"""Benchmarks: each measures the product, beside a peer where there is one, and writes ``reports/bench/<name>.json``."""
