"""Which tree, file and link goes where in a repository, one file per consumer.

The paths are a contract with those who read them: ``design`` section 5.5, and what
unpacked.cern.ch has had for years.
"""
