"""From a manifest to one merged root file system, as metadata.

Knows images and tar; knows nothing of registries, queues or where the result goes. The
story of one image: ``manifest`` says which layers, ``tar`` turns a blob into members,
``layers`` stores the bytes of their files, makes a tree of each layer and puts the
trees on top of each other. ``index`` and ``platforms`` say which image runs where.
"""
