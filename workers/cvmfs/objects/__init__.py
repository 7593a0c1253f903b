"""Stored objects: named by the hash of their compressed bytes, read back and proven.

Read first: ``objects.py`` (one object), then ``content_sink.py`` (contents of files, in
chunks, many at a time).
"""
