"""One run: from a reference that is owed work to a new revision, or to a reason.

Essential reading, in order: ``run.py`` (what a run is), ``outcomes.py`` (how it ends,
whatever happens), ``publish.py`` (the story itself), ``assemble.py`` (what is missing
is made, and the name led to it). ``restore.py`` and ``remove.py`` are the other two
things that a run can be for.
"""
