"""CVMFS repositories and their storages to test with, and readers that are not ours."""
