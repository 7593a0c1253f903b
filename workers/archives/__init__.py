"""Trees as bytes: tar and squashfs, and what an export says it did.

Knows nothing of images and of places in a repository.
"""
