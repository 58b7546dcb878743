"""A mapping in YAML says what a file's columns mean, and becomes one SQL statement."""
