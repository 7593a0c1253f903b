"""From a manifest to one merged root file system, as metadata.

Knows images and tar; knows nothing of registries, queues or where the result goes. The
story of one image: ``manifest`` says which layers, ``decompress`` and ``tar`` turn a
blob into members, ``layer`` makes each layer a tree and stores the bytes of its files
in a sink, ``merge`` puts the trees on top of each other, ``singularity`` adds what
apptainer needs.
"""
