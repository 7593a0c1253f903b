"""One layer: read from its tar, kept as a tree, merged with others, verified.

Read first: ``read.py`` (a blob becomes a tree), ``layer_tree.py`` (the value),
``merge.py`` (layers become a root file system), ``verify.py`` (the same found a second
time by other code).
"""
