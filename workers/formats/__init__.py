"""What is published of an image, and where in the repository it lies.

Read first: ``format.py`` (the questions that every format answers) and ``formats.py``
(all of them, asked in turn).

One file a format: ``flat``, ``layers``, ``podman``, ``squashfs``, ``thin``. The paths
are a contract with those who read them: README, and what unpacked.cern.ch has had for
years. ``paths.py`` has them all; ``receipt.py`` is what we say of a publication.
"""
