"""What is published of an image, and where in the repository it lies.

One file a format: ``flat``, ``layers``, ``podman``, ``squashfs``, ``thin``. The paths
are a contract with those who read them: README, and what unpacked.cern.ch has had for
years. ``paths.py`` has them all; ``receipt.py`` is what we say of a publication.
"""
