"""What a repository says of images: read back, found, found unused.

Read first: ``images.py`` (all that are live), ``find.py`` (one of them).
"""
