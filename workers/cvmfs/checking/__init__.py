"""The parts of ``check``: one room per thing that can be wrong.

Read first: ``workers/cvmfs/check.py``, the story they are parts of.
"""
