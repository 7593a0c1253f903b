"""YAML and JSON that people write, checked against a schema with lines to point at."""
