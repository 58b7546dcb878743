"""Benchmarks: each measures the product, beside a peer if there is one, and writes ``reports/bench``."""
