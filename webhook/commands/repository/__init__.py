"""The verbs of ``cvmfs-webhook repository``: the native repository's tools."""
