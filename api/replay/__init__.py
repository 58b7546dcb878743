"""Proof by replay: sends history through the real server and compares what it used with what dbt computes."""
