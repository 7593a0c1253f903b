"""What is answered over HTTP besides the dashboard: one file a family of routes.

``hooks`` takes notifications, ``api`` serves programs, ``cvmfs_files`` clients of the
repository, ``queue_pages`` operators; ``metrics``, ``health`` and ``badge`` speak for
themselves. ``login``, ``attempts`` and ``headers`` are what several of them need.
"""
