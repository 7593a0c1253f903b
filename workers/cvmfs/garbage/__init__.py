"""Garbage: objects that no kept revision needs, and their deletion.

Read first: ``collect.py`` (the story), ``retention.py`` (which revisions stay).
"""
