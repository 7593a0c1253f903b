"""Tar as layers have it, compressed or not: members in order, contents as streams.

Read first: ``reader.py``, which says why ``tarfile`` is not used and what it costs an
entry. Written for speed and for refusing with a reason.
"""
