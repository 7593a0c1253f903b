"""Making plans visible in a repository: one file a way to publish.

Read first: ``publisher.py`` (the Protocol, and its errors), ``plan.py`` (what is to
appear), ``published_snapshot.py`` (how a revision is read), ``native.py`` (the format
written by ourselves), ``group.py`` (many processes, one commit).
"""
