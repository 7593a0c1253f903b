"""Values of the format: hashes, paths, names, entries and trees. Pure.

Read first: ``hash.py`` (content hashes, the key of a path), ``dirent.py`` (one entry),
``trees.py`` (directories of entries). ``packed_entries.py`` keeps many entries small.
"""
