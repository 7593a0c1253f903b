"""Everything on one machine: ``up``.

Read first: ``up.py`` (which processes), ``supervisor.py`` (how they are kept alive),
``first_start.py`` (configuration and policy with fresh secrets).
"""
