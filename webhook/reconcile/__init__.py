"""Pushes that nobody told us of, found by asking the registries.

Read first: ``reconciler.py`` (the timer), ``watched.py`` (which repositories),
``look.py`` (one look at one of them), ``differences.py`` (what follows from it; pure).
"""
