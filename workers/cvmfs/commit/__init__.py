"""A commit: from prepared trees to the next signed revision.

Read first: ``committer.py`` (the story and the order of writes), ``changes.py`` (what
can be asked for), ``transaction.py`` (what becomes of the catalogs).
"""
