"""The check of a whole repository: one room per thing that can be wrong.

Read first: ``check.py``, the story that the others are parts of.
"""
