"""The front: answers senders and people; never converts, never talks to CVMFS."""
