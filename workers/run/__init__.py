"""One run: from a reference that is owed work to a new revision, or to a reason.

Essential reading, in order: ``run.py`` (what a run is), ``ending.py`` (however it goes,
it ends in words), ``publish.py`` (the story itself), ``place.py`` (what is missing is
made, and the name led to it). ``restore.py`` and ``remove.py`` are the other two things
that a run can be for.
"""
