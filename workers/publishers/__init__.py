"""Where a plan becomes a new revision of a CVMFS repository.

One file for each way to publish, behind the protocol in ``workers/plan.py``.
"""
