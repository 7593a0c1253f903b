"""Catalogs: the SQLite files that list the entries of a tree.

Read first: ``schema.py`` (tables and flags), ``rows.py`` (an entry as a row and back),
``prepare.py`` (a tree becomes catalogs, ahead of any lock), ``editor.py`` (the catalogs
of a transaction). ``cutting.py`` says where a large tree is split.
"""
