"""Places where objects and mutable files lie: a directory, a bucket, a stock server's.

Read first: ``storage.py`` (the Protocols and what each call promises), then
``local.py`` and ``s3.py``, which pass one contract suite. ``bucket*.py`` is what only a
bucket needs; ``stock_lock.py`` and ``shared_with_stock.py`` are for a repository that
the stock tools write as well.
"""
