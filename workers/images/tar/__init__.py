"""Tar as layers have it, compressed or not: members in order, contents as streams.

Read first: ``reader.py``. Written for speed and for refusing with a reason; what
``tarfile`` costs an entry is measured in the README.
"""
