"""The verbs of ``cvmfs-webhook``, one file for each thing they are about.

Commands are thin: they parse words, call, and print. What they all do alike, how they
find the configuration, print JSON and end, is in ``frame``.
"""
