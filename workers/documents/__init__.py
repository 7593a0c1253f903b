"""Documents on disk: YAML and JSON that people write, and files that are there whole.

What people write is checked against a schema, with lines to point at.
"""
