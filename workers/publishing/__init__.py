"""Making plans visible in a repository: one file a way to publish.

Read first: ``plan.py`` (what is to appear), ``native.py`` (the format written by
ourselves), ``group.py`` (many processes, one commit).
"""
