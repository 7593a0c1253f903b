"""What becomes of an event: judged by the policy, written down, queued.

Read first: ``intake.py`` (notifications), ``requests.py`` (by hand). ``judging.py``
decides; ``deferred_queue.py`` carries jobs to the queue once the sender has its answer.
"""
